//! What the API does with the balancers of a home.

use async_trait::async_trait;
use control::ports::{BalancerAdmin, BalancerError, Standing};
use wire::cutover::{AddBalancer, BalancerInfo, TargetGroupStatus, TargetStatus};

use super::alarms::Alarm;
use super::set::{Balancers, Described};
use super::set_up_error::SetUpError;
use super::settings::{Cohort, Settings};
use super::settings_error::SettingsError;

#[async_trait]
impl BalancerAdmin for Balancers {
    async fn add(&self, balancer: &AddBalancer) -> Result<BalancerInfo, BalancerError> {
        let name = balancer.name.clone().unwrap_or_default();
        let added = match settings_of(balancer) {
            Ok(settings) => Self::add(self, settings).await,
            Err(error) => Err(error.into()),
        };
        added.as_ref().map(info_of).map_err(|error| told(&name, error))
    }

    async fn list(&self) -> Vec<BalancerInfo> {
        Self::list(self).iter().map(info_of).collect()
    }

    async fn remove(&self, name: &str) -> Result<(), BalancerError> {
        let removed = Self::remove(self, name).await;
        removed.map_err(|error| told(name, &error))
    }

    fn read_by(&self, alarm: &str) -> Option<String> {
        alarm.strip_prefix("home:")?.parse().ok().map(|Alarm { balancer, .. }| balancer)
    }
}

fn told(name: &str, error: &SetUpError) -> BalancerError {
    let name = format!("home:{name}");
    BalancerError::Refused { name, message: error.to_string() }
}

fn settings_of(balancer: &AddBalancer) -> Result<Settings, SettingsError> {
    let name = balancer.name.clone().unwrap_or_default();
    let mut settings = Settings::new(&name, balancer.target_port.unwrap_or_default());
    settings.port = balancer.port.unwrap_or_default();
    if let Some(path) = &balancer.health_path {
        settings.health_path.clone_from(path);
    }
    if let Some(statuses) = &balancer.health_status {
        settings.health_status = statuses.parse()?;
    }
    settings.groups = balancer.target_groups.clone().unwrap_or_default();
    if let Some(seconds) = balancer.drain_seconds {
        settings.drain_timeout_ms = seconds.saturating_mul(1_000);
    }
    settings.test_port = balancer.test_port;
    let split = |pair: &String| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_owned(), value.to_owned())
    };
    let header = balancer.cohort_header.as_ref().map(split);
    let cookie = balancer.cohort_cookie.as_ref().map(split);
    settings.cohort = match (header, cookie) {
        (Some((name, value)), _) => Some(Cohort::Header { name, value }),
        (None, Some((name, value))) => Some(Cohort::Cookie { name, value }),
        (None, None) => None,
    };
    Ok(settings)
}

fn info_of(described: &Described) -> BalancerInfo {
    let Described { settings, address, test_address, groups, totals } = described;
    let target = |(host, standing): (&String, &Standing)| TargetStatus {
        host: Some(host.clone()),
        standing: Some(word(standing).to_owned()),
    };
    let groups = groups.iter().map(|group| TargetGroupStatus {
        name: Some(format!("home:{}", group.name)),
        percent: Some(u32::from(group.percent)),
        targets: Some(group.hosts.iter().map(target).collect()),
    });
    BalancerInfo {
        name: Some(settings.name.clone()),
        url: Some(format!("http://{address}")),
        test_url: test_address.map(|address| format!("http://{address}")),
        target_port: Some(settings.target_port),
        health_path: Some(settings.health_path.clone()),
        health_status: Some(settings.health_status.to_string()),
        target_groups: Some(groups.collect()),
        requests: Some(totals.requests),
        app_errors: Some(totals.app_errors),
        own_errors: Some(totals.own_errors),
    }
}

fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Out => "out",
        Standing::Draining => "draining",
        Standing::Starting(_) => "starting",
        Standing::In => "in",
    }
}
