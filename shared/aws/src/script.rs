//! The script that a command runs on an instance.

use thiserror::Error;

/// What differs from batch to batch.
pub(crate) struct Values {
    pub(crate) api_url: String,
    pub(crate) batch_key: String,
    pub(crate) batch_secret: String,
    pub(crate) runner_version: String,
    pub(crate) runner_digest: String,
}

#[derive(Debug, Error)]
#[error("there is no script")]
pub(crate) struct RenderError;

pub(crate) fn render(_: &Values) -> Result<String, RenderError> {
    Err(RenderError)
}
