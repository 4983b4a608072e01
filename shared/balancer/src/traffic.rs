//! What a home plugs into the ports of traffic: each name goes to what its scheme says.

use std::collections::BTreeMap;

use async_trait::async_trait;
use control::ports::{Alarms, BalancerError, Balancers as BalancersPort, Pair, Reading, Standing};
use engine::DeploymentId;

use super::alarms;
use super::haproxy::Haproxy;
use super::outside::Outside;
use super::set::Balancers;

/// Balancers and sources of alarms at home: its own, HAProxy, and Prometheus.
#[derive(Clone)]
pub struct HomeTraffic {
    /// `home:NAME`.
    pub home: Balancers,
    /// `haproxy:BACKEND` and `prometheus:EXPRESSION`, where the home was told of them.
    pub outside: Outside,
}

const NO_PROMETHEUS: &str =
    "this home was not told of a Prometheus: start it with `cutover up --prometheus URL`";
const FORM: &str =
    "at home alarms are written `home:BALANCER METRIC>LIMIT` or `prometheus:EXPRESSION`";

/// A balancer that a name leads to, and the rest of the name.
enum Found<'a> {
    Home(&'a Balancers, &'a str),
    Haproxy(&'a Haproxy, &'a str),
}

impl HomeTraffic {
    fn find<'a>(&'a self, group: &'a str) -> Result<Found<'a>, BalancerError> {
        let hint = match group.split_once(':') {
            Some(("home", name)) => return Ok(Found::Home(&self.home, name)),
            Some(("haproxy", name)) => match self.outside.haproxy_of(name) {
                Some(haproxy) => return Ok(Found::Haproxy(haproxy, name)),
                None => self.outside.hint_for(name),
            },
            Some((scheme, _)) if !scheme.contains('/') => {
                format!("`{scheme}:` is no kind of balancer here: use `home:NAME` or `haproxy:BACKEND`")
            }
            _ => "a name without a scheme is a target group of a cloud: at home use `home:NAME` or `haproxy:BACKEND`".to_owned(),
        };
        Err(BalancerError::Unknown { name: group.to_owned(), hint })
    }

    /// Both groups of a pair, if one balancer has them.
    fn find_pair<'a>(&'a self, pair: &'a Pair) -> Result<(Found<'a>, &'a str), BalancerError> {
        match (self.find(&pair.old)?, self.find(&pair.new)?) {
            (Found::Home(_, old), new @ Found::Home(..))
            | (Found::Haproxy(_, old), new @ Found::Haproxy(..)) => Ok((new, old)),
            _ => {
                let message = format!(
                    "`{}` and `{}` are of different balancers: name two target groups of one",
                    pair.old, pair.new
                );
                Err(BalancerError::Refused { name: pair.new.clone(), message })
            }
        }
    }

    async fn read_one(&self, alarm: &str, version: &DeploymentId) -> Reading {
        let reason = match alarm.split_once(':') {
            Some(("home", text)) => return alarms::read(&self.home, text, version),
            Some(("prometheus", expression)) => match &self.outside.prometheus {
                Some(prometheus) => return prometheus.read(expression, version).await,
                None => NO_PROMETHEUS,
            },
            _ => FORM,
        };
        Reading::Unreadable(format!("the alarm `{alarm}` cannot be read: {reason}"))
    }
}

#[async_trait]
impl BalancersPort for HomeTraffic {
    async fn check(&self, group: &str) -> Result<(), BalancerError> {
        match self.find(group)? {
            Found::Home(home, name) => home.check(name),
            Found::Haproxy(haproxy, name) => haproxy.check(name).await,
        }
    }

    async fn admit(
        &self,
        group: &str,
        host: &str,
        version: &DeploymentId,
    ) -> Result<(), BalancerError> {
        match self.find(group)? {
            Found::Home(home, name) => home.admit(name, host, version).await,
            Found::Haproxy(haproxy, name) => haproxy.admit(name, host).await,
        }
    }

    async fn drain(&self, group: &str, hosts: &[String]) -> Result<(), BalancerError> {
        match self.find(group)? {
            Found::Home(home, name) => home.drain(name, hosts).await,
            Found::Haproxy(haproxy, name) => haproxy.drain(name, hosts).await,
        }
    }

    async fn standing(
        &self,
        group: &str,
        hosts: &[String],
    ) -> Result<BTreeMap<String, Standing>, BalancerError> {
        match self.find(group)? {
            Found::Home(home, name) => home.standing(name, hosts),
            Found::Haproxy(haproxy, name) => haproxy.standing(name, hosts).await,
        }
    }

    async fn split(&self, pair: &Pair, percent: u8) -> Result<(), BalancerError> {
        match self.find_pair(pair)? {
            (Found::Home(home, new), old) => home.split(old, new, percent).await,
            (Found::Haproxy(haproxy, new), old) => haproxy.split(old, new, percent).await,
        }
    }

    async fn percent(&self, pair: &Pair) -> Result<u8, BalancerError> {
        match self.find_pair(pair)? {
            (Found::Home(home, new), old) => home.percent(old, new),
            (Found::Haproxy(haproxy, new), old) => haproxy.percent(old, new).await,
        }
    }
}

#[async_trait]
impl Alarms for HomeTraffic {
    fn refusal(&self, alarm: &str) -> Option<String> {
        let why = match alarm.split_once(':') {
            Some(("home", text)) => return alarms::refusal(&self.home, text),
            Some(("prometheus", _)) if self.outside.prometheus.is_some() => return None,
            Some(("prometheus", _)) => NO_PROMETHEUS,
            _ => FORM,
        };
        Some(format!("the alarm `{alarm}` cannot be read: {why}"))
    }

    async fn read(&self, alarms: &[String], version: &DeploymentId) -> Vec<Reading> {
        let readings = alarms.iter().map(|alarm| self.read_one(alarm, version));
        futures::future::join_all(readings).await
    }

    async fn notes(&self, alarms: &[String], version: &DeploymentId) -> Vec<Option<String>> {
        let note = |alarm: &String| {
            let text = alarm.strip_prefix("home:")?;
            alarms::note(&self.home, text, version)
        };
        alarms.iter().map(note).collect()
    }
}
