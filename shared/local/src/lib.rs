//! Skeleton.

pub mod hosts;
