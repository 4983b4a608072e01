//! Home: Cutover on one machine, without an account. Embeds DynamoDB on a SQLite file, puts the buckets and the balancer
//! beside it, runs each host as a process of its own, and drives deployments in one loop. Its API takes requests that are
//! signed as AWS demands.
//!
//! Everything here listens on loopback addresses and deliberately on nothing else.

pub mod descriptors;
pub mod dir;
mod dispatcher;
pub mod dynamodb;
pub mod home;
pub mod hosts;
mod machine;
mod tidy;
mod waker;
