//! Metrics in CloudWatch's embedded format: lines in the log that CloudWatch makes metrics of, without a call and without
//! a wait (`docs/cloud.md`).

use std::io::Write as _;

use control::ports::{Clock as _, HostOutcome, Measure, Meter};
use serde_json::{Value, json};

use crate::ports::SystemClock;

/// The namespace of all metrics.
const NAMESPACE: &str = "Cutover";

/// Writes each measurement as a line to standard output.
pub(crate) struct EmbeddedMeter {
    stack: String,
}

impl EmbeddedMeter {
    /// A meter of the stack called so.
    pub(crate) fn new(stack: String) -> Self {
        Self { stack }
    }
}

impl Meter for EmbeddedMeter {
    fn take(&self, measure: Measure) {
        let line = line_of(&self.stack, SystemClock.now().0, measure);
        // Nobody is left to be told that standard output is closed.
        drop(writeln!(std::io::stdout().lock(), "{line}"));
    }
}

/// The line of a measurement.
fn line_of(stack: &str, at_ms: u64, measure: Measure) -> Value {
    let (name, unit, value, by) = match measure {
        Measure::Deployment(status) => ("Deployments", "Count", 1, Some(("Status", status.name()))),
        Measure::Hosts(outcome, count) => {
            ("HostOutcomes", "Count", u64::from(count), Some(("Outcome", outcome_name(outcome))))
        }
        Measure::Step(ms) => ("StepLatencyMs", "Milliseconds", ms, None),
        Measure::Wakes(count) => ("Wakes", "Count", u64::from(count), None),
        Measure::OldestOverdue(ms) => ("OldestOverdueMs", "Milliseconds", ms, None),
    };
    let mut dimensions = vec![vec!["Stack"]];
    let mut line = json!({ "Stack": stack, name: value });
    if let (Some((dimension, value)), Some(members)) = (by, line.as_object_mut()) {
        dimensions.push(vec!["Stack", dimension]);
        members.insert(dimension.to_owned(), value.into());
    }
    let metrics = json!([{ "Name": name, "Unit": unit }]);
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics });
    if let Some(members) = line.as_object_mut() {
        let about = json!({ "Timestamp": at_ms, "CloudWatchMetrics": [directive] });
        members.insert("_aws".to_owned(), about);
    }
    line
}

fn outcome_name(outcome: HostOutcome) -> &'static str {
    match outcome {
        HostOutcome::Succeeded => "Succeeded",
        HostOutcome::Failed => "Failed",
        HostOutcome::Silent => "Silent",
        HostOutcome::Skipped => "Skipped",
        HostOutcome::Gone => "Gone",
    }
}

#[cfg(test)]
mod tests {
    use engine::deployment::Status;

    use super::*;

    #[test]
    fn a_measurement_is_a_line_that_cloudwatch_reads_as_a_metric() {
        let line = line_of("prod", 1_764_000_000_000, Measure::Deployment(Status::Failed));
        let expected = json!({
            "_aws": {
                "Timestamp": 1_764_000_000_000_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "Cutover",
                    "Dimensions": [["Stack"], ["Stack", "Status"]],
                    "Metrics": [{ "Name": "Deployments", "Unit": "Count" }]
                }]
            },
            "Stack": "prod", "Status": "Failed", "Deployments": 1
        });
        assert_eq!(line, expected);
        let step = line_of("prod", 1, Measure::Step(12));
        assert_eq!(step["StepLatencyMs"], 12);
        assert_eq!(step["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Stack"]]));
    }
}
