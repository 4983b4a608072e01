//! What a judge promises and tolerates.

use serde::{Deserialize, Serialize};

/// The chances of being wrong that are accepted, and what counts as worse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Raw")]
pub struct Terms {
    alpha: f64,
    beta: f64,
    errors: Margin,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow: Option<Margin>,
}

/// How far the canary may be from the baseline, in the odds that a request is bad: p / (1 − p), which for rare events is
/// their rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Margin {
    /// What the canary is compared with.
    pub baseline: Baseline,
    /// The canary may have the baseline's odds times this; 1 to 100.
    pub factor: f64,
    /// And fail besides, for a cause of its own, with this probability; 0 to 0.5.
    pub plus: f64,
    /// The canary is good enough once its odds are shown to be below the baseline's times this, or its rate below
    /// `plus`; at least 1.1 times `factor`, at most 1000.
    pub unacceptable: f64,
}

/// What the canary is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Baseline {
    /// What the other version does at the same time. Both may then become worse together, as in an outage of something
    /// that both use.
    Measured,
    /// A rate known from before, 0.000001 to 0.99.
    Known {
        /// The share of requests that are bad.
        rate: f64,
    },
}

/// Why terms cannot be judged by.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum TermsError {
    /// A chance of being wrong that is none, or too large to mean anything.
    #[error("`{name}` is {value}, and must be from 0.000001 to 0.5")]
    Chance {
        /// `alpha` or `beta`.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// A margin out of its limits.
    #[error("`{name}` is {value}, and must be from {least} to {most}")]
    Margin {
        /// The field of [`Margin`].
        name: &'static str,
        /// What was given.
        value: f64,
        /// The least that is allowed.
        least: f64,
        /// The most that is allowed.
        most: f64,
    },
}

impl Terms {
    /// Terms with `alpha`, the chance of ever rejecting a version that is within its margins, and `beta`, the chance of
    /// ever accepting one that is unacceptable in one of them. With `slow`, latency is judged too.
    ///
    /// # Errors
    /// A number is out of its limits or is none.
    pub fn new(
        alpha: f64,
        beta: f64,
        errors: Margin,
        slow: Option<Margin>,
    ) -> Result<Self, TermsError> {
        for (name, value) in [("alpha", alpha), ("beta", beta)] {
            if !(1e-6..=0.5).contains(&value) {
                return Err(TermsError::Chance { name, value });
            }
        }
        errors.check()?;
        slow.iter().try_for_each(Margin::check)?;
        Ok(Self { alpha, beta, errors, slow })
    }

    /// The chance of ever rejecting a version that is within its margins, over both measures together.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The chance of ever accepting a version that is unacceptable in one of its measures.
    pub fn beta(&self) -> f64 {
        self.beta
    }

    /// The margin of errors.
    pub fn errors(&self) -> &Margin {
        &self.errors
    }

    /// The margin of slow requests, if they are judged.
    pub fn slow(&self) -> Option<&Margin> {
        self.slow.as_ref()
    }
}

impl Default for Terms {
    /// One good version in a hundred is rejected at most, one that fails twice as often in twenty accepted; latency is
    /// not judged.
    fn default() -> Self {
        Self { alpha: 0.01, beta: 0.05, errors: Margin::default(), slow: None }
    }
}

impl Default for Margin {
    /// No worse than what the other version does at the same time; twice as bad is unacceptable.
    fn default() -> Self {
        Self { baseline: Baseline::Measured, factor: 1.0, plus: 0.0, unacceptable: 2.0 }
    }
}

impl Margin {
    fn check(&self) -> Result<(), TermsError> {
        let rate = match self.baseline {
            Baseline::Measured => None,
            Baseline::Known { rate } => Some(("rate", rate, 1e-6, 0.99)),
        };
        let rest = [
            ("factor", self.factor, 1.0, 100.0),
            ("plus", self.plus, 0.0, 0.5),
            ("unacceptable", self.unacceptable, 1.1 * self.factor, 1000.0),
        ];
        for (name, value, least, most) in rest.into_iter().chain(rate) {
            if !(least..=most).contains(&value) {
                return Err(TermsError::Margin { name, value, least, most });
            }
        }
        Ok(())
    }
}

/// Terms as they are written, before they are checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    alpha: f64,
    beta: f64,
    errors: Margin,
    slow: Option<Margin>,
}

impl TryFrom<Raw> for Terms {
    type Error = TermsError;

    fn try_from(raw: Raw) -> Result<Self, TermsError> {
        Self::new(raw.alpha, raw.beta, raw.errors, raw.slow)
    }
}
