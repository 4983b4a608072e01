//! The program `cutover` as a user or a script meets it: what it prints where, and how it ends. It talks to a service
//! that answers by a script, checks signatures as a home does, and knows nothing else.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod cloud;
mod commands;
mod config;
mod connect;
mod proxy;
mod service;
mod terminal;
mod tls;
mod watch;
