//! One figure of a benchmark.

use serde::Serialize;

/// One figure.
#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    /// What it has to stay below, if that was promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<f64>,
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, limit: None }
    }

    pub(super) fn limit(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

/// The figures that stand for many values, in milliseconds: the median and the 90th percentile.
pub(super) fn spread(name: &str, mut values: Vec<f64>) -> [Figure; 2] {
    values.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let place = (values.len().saturating_sub(1) * percent).div_ceil(100);
        values.get(place).copied().unwrap_or(f64::NAN)
    };
    [
        Figure::new(format!("{name}, median of {}", values.len()), at(50), "ms"),
        Figure::new(format!("{name}, p90"), at(90), "ms"),
    ]
}
