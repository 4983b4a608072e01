//! What moves the traffic of a home's hosts and what watches it: a balancer of its own for HTTP/1.1, HAProxy through its
//! runtime socket, and alarms on what either the built-in balancer or Prometheus measures. The rules that deployments go
//! by are `control`'s; nothing here knows of them.

mod admin;
mod alarms;
mod asked;
mod body;
mod haproxy;
mod measure;
mod outside;
mod pool;
mod probe;
mod prometheus;
mod proxy;
mod saved;
mod set;
mod set_up_error;
mod settings;
mod settings_error;
mod statuses;
#[cfg(test)]
mod tests;
mod traffic;
mod trials;

pub use alarms::{Alarm, AlarmError, Condition, Limit};
pub use haproxy::{Haproxy, Socket};
pub use measure::{Comparison, Totals, Window};
pub use outside::{Outside, OutsideError};
pub use prometheus::{Prometheus, PrometheusUrlError};
pub use set::{Balancers, Described, DescribedGroup, Resolver};
pub use set_up_error::SetUpError;
pub use settings::{Cohort, Settings};
pub use settings_error::SettingsError;
pub use statuses::Statuses;
pub use traffic::HomeTraffic;
pub use trials::Compared;
