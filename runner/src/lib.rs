//! What runs on a host.

pub mod install;
pub mod root;
pub mod unpack;
