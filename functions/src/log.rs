//! The log of a function: a line of JSON for each event, with the ids that the spans around it carry.

use tracing_subscriber::EnvFilter;

use crate::config::variable;

/// Writes the log to standard output from now on, as much as `RUST_LOG` or Lambda's own setting wants.
pub(crate) fn init() {
    let level = variable("RUST_LOG").or_else(|| variable("AWS_LAMBDA_LOG_LEVEL"));
    let filter = EnvFilter::try_new(level.unwrap_or_else(|| "info".to_owned()));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let json = tracing_subscriber::fmt().json().flatten_event(true);
    let log = json.with_current_span(false).with_span_list(true).with_target(false);
    // Set already only in tests, which start several.
    drop(log.with_env_filter(filter).with_writer(std::io::stdout).try_init());
}
