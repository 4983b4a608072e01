//! Why an event has failed, and how errors are told.

use wire::host::{ErrorCode, EventDiagnostics};

/// Why an event has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    /// The script as the AppSpec names it; empty if it is none's fault.
    pub(crate) script: String,
    pub(crate) message: String,
}

impl Failure {
    /// A failure that is no script's.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::UnknownError, script: String::new(), message: message.into() }
    }

    /// What is reported of it, with the end of the event's output.
    pub(crate) fn diagnostics(self, log_tail: String) -> EventDiagnostics {
        let Self { code, script, message } = self;
        EventDiagnostics { error_code: code, script_name: script, message, log_tail }
    }
}

/// An error with its causes.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
