//! Home: Cutover on one machine, without an account. Embeds DynamoDB on a SQLite file and S3 on a directory, checks the
//! signatures that AWS checks in front of its own APIs, runs each host as a process of its own, and drives deployments
//! in one loop.
//!
//! Everything here listens on loopback addresses and deliberately on nothing else.

pub mod balancer;
mod bell;
pub mod descriptors;
pub mod dir;
mod dispatcher;
pub mod dynamodb;
pub mod home;
pub mod hosts;
mod machine;
pub mod s3;
mod server;
pub mod sigv4;
mod tidy;

/// Resolves when a stop was asked for, or the handle that could ask for it is gone.
async fn stop_requested(stop: &mut tokio::sync::watch::Receiver<bool>) {
    while !*stop.borrow_and_update() {
        if stop.changed().await.is_err() {
            return;
        }
    }
}
