//! What home embeds in place of the cloud's services: DynamoDB on a SQLite file, S3 on a directory, and the check of
//! request signatures that AWS does in front of its own APIs.
//!
//! Everything here listens on the loopback address it is given and deliberately on nothing else.

pub mod dynamodb;
pub mod s3;
pub mod sigv4;

/// Resolves when a stop was asked for, or the handle that could ask for it is gone.
async fn stop_requested(stop: &mut tokio::sync::watch::Receiver<bool>) {
    while !*stop.borrow_and_update() {
        if stop.changed().await.is_err() {
            return;
        }
    }
}
