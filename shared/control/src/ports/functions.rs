//! Lambda functions: their aliases, which carry traffic, and those that hooks call (`docs/semantics.md#lambda`).

use async_trait::async_trait;
use engine::appspec::Alias;
use thiserror::Error;

/// Why a function was not called, or its alias not read or changed.
#[derive(Debug, Error)]
pub enum FunctionError {
    /// There is none, it is not as it should be, or nobody may; asking again gives the same answer.
    #[error("the function `{name}` cannot be used: {message}")]
    Refused {
        /// The function, with its alias where one is meant.
        name: String,
        /// The reason, and what to do.
        message: String,
    },
    /// No answer, or not now; trying again may help.
    #[error("the function `{name}` could not be asked about")]
    Unavailable {
        /// The function.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How an alias stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasStanding {
    /// How much of its traffic goes to its new version, in percent.
    pub percent: u8,
    /// What it is changed under. Each change gives it another one.
    pub revision: String,
}

/// Lambda functions. Everything may be asked twice.
#[async_trait]
pub trait Functions: Send + Sync {
    /// How an alias stands. One that sends traffic to a version that is neither its old nor its new one is refused, and so
    /// is a version that is not there.
    async fn standing(&self, alias: &Alias) -> Result<AliasStanding, FunctionError>;

    /// Has the alias send `percent` of its traffic to its new version, and the rest to its old one, if it still has the
    /// revision that was read. One that was changed since is left as it is, and counts as unavailable.
    async fn split(&self, alias: &Alias, percent: u8, revision: &str) -> Result<(), FunctionError>;

    /// Calls a function without waiting for its answer.
    async fn call(&self, function: &str, payload: &str) -> Result<(), FunctionError>;
}

/// Where there are no functions.
#[derive(Debug, Clone, Copy)]
pub struct NoFunctions;

impl NoFunctions {
    fn none<T>(name: &str) -> Result<T, FunctionError> {
        let message =
            "a home has no Lambda functions; deploy this application with an installation on AWS"
                .to_owned();
        Err(FunctionError::Refused { name: name.to_owned(), message })
    }
}

#[async_trait]
impl Functions for NoFunctions {
    async fn standing(&self, alias: &Alias) -> Result<AliasStanding, FunctionError> {
        Self::none(&alias.function)
    }

    async fn split(&self, alias: &Alias, _: u8, _: &str) -> Result<(), FunctionError> {
        Self::none(&alias.function)
    }

    async fn call(&self, function: &str, _: &str) -> Result<(), FunctionError> {
        Self::none(function)
    }
}
