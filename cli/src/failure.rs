//! What a command ends with: an exit code, and for a failure what the user reads.

use std::process::ExitCode;

use serde_json::json;

/// The exit codes of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is done.
    Done,
    /// The deployment did not succeed, or lint rejects the bundle.
    NotSucceeded,
    /// Wrong use: something that does not exist, or must not be.
    WrongUse,
    /// The Cutover that was asked for does not answer.
    Unreachable,
    /// The time that `--timeout` allows is over.
    TimeOver,
    /// What the command had to say could not be written to stdout.
    NotWritten,
    /// The user pressed Ctrl-C: 128 and the number of SIGINT, as shells have it.
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotSucceeded => 1,
            Self::WrongUse => 2,
            Self::Unreachable => 3,
            Self::TimeOver => 4,
            Self::NotWritten => 5,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed, in the words that the user reads.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened, to what, as a lower-case fragment.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The name of the API's exception, if the API refused.
    pub(crate) name: Option<String>,
    /// Whether the command has written its JSON object already, so that no second one may follow.
    pub(crate) data_written: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, name: None, data_written: false }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The failure as the user of `--format json` gets it.
    pub(crate) fn json(&self) -> serde_json::Value {
        let mut error = json!({ "message": self.message, "exitCode": self.exit.code() });
        if let Some(fields) = error.as_object_mut() {
            let parts = [("__type", &self.name), ("hint", &self.hint)];
            for (key, value) in
                parts.into_iter().filter_map(|(key, part)| Some((key, part.clone()?)))
            {
                fields.insert(key.to_owned(), value.into());
            }
        }
        json!({ "error": error })
    }
}
