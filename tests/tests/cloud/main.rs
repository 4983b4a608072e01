//! `template.yaml` on an emulated cloud: an upload becomes a deployment, and containers are its EC2 hosts.
//!
//! `cargo xtask test` starts the cloud (`xtask/src/cloud/`), deploys the template with `sam deploy`, and runs these.
//! The cloud checks signatures and each role's policy, so that a right that a function lacks fails a test.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

#[expect(dead_code, reason = "some of it is for other tests")]
#[path = "../it/support/archive.rs"]
mod archive;
mod calls;
mod clients;
mod cloud;
mod deployments;
mod hosts;
mod traffic;
mod uploads;
