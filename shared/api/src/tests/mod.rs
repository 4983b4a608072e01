//! The router from outside: what clients and hosts send, and what they get. What the operations do, `control` tests.

mod hosts;
mod named;
mod protocol;
mod whole;
mod world;
