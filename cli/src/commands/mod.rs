//! One file per command.

pub(crate) mod env;
pub(crate) mod host;
pub(crate) mod up;
