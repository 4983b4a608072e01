//! What moves traffic, and what watches it (`docs/semantics.md#traffic`). A balancer is named by a scheme and a name:
//! `home:NAME`, `haproxy:NAME`; a name without a scheme is a target group of ELBv2. Alarms likewise: `home:…`,
//! `prometheus:…`, and without a scheme one of CloudWatch.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use engine::DeploymentId;
use thiserror::Error;
use wire::cutover::{AddBalancer, BalancerInfo};

use super::{Functions, NoFunctions, NoServices, Services};

/// Why a balancer did not do as asked.
#[derive(Debug, Error)]
pub enum BalancerError {
    /// Nobody here knows a balancer of that name.
    #[error("there is no balancer `{name}`: {hint}")]
    Unknown {
        /// The name, with its scheme.
        name: String,
        /// What to do.
        hint: String,
    },
    /// It refuses; asking again gives the same answer.
    #[error("the balancer `{name}` refuses: {message}")]
    Refused {
        /// The name, with its scheme.
        name: String,
        /// Its reason, and what to do.
        message: String,
    },
    /// It did not answer, or not now; trying again may help.
    #[error("the balancer `{name}` did not answer")]
    Unavailable {
        /// The name, with its scheme.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where a host stands with a balancer, as the balancer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is not known there, or gets no traffic and has none left.
    Out,
    /// It gets no new traffic, and has some left.
    Draining,
    /// It is to get traffic, and has not been found healthy yet; the balancer's words, where it gives any.
    Starting(Option<String>),
    /// It gets traffic.
    In,
}

/// Two target groups that share the traffic of a listener or rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The target group of the version that goes.
    pub old: String,
    /// The target group of the version that comes.
    pub new: String,
    /// The ARN of the listener that is meant, with all its rules; none where the balancer knows the one place in which the
    /// two share traffic.
    pub listener: Option<String>,
}

/// Whether something is wanted still.
#[async_trait]
pub trait Wanted: Send + Sync {
    /// Asks anew. What is not known is not wanted.
    async fn is_wanted(&self) -> bool;
}

/// Balancers. Everything may be asked twice; nothing is done that was not asked for. That something was asked for says
/// nothing: only what is read back counts.
#[async_trait]
pub trait Balancers: Send + Sync {
    /// Whether there is such a target group.
    async fn check(&self, group: &str) -> Result<(), BalancerError>;

    /// Asks for a host to get traffic. `version` is the deployment that brought what runs there: sources of alarms tell
    /// hosts apart by it.
    async fn admit(
        &self,
        group: &str,
        host: &str,
        version: &DeploymentId,
    ) -> Result<(), BalancerError>;

    /// Asks for hosts to get no new traffic, at once and all together; what they have may end in the balancer's own time.
    async fn drain(&self, group: &str, hosts: &[String]) -> Result<(), BalancerError>;

    /// How each of these hosts stands. One that the balancer does not know is [`Standing::Out`].
    async fn standing(
        &self,
        group: &str,
        hosts: &[String],
    ) -> Result<BTreeMap<String, Standing>, BalancerError>;

    /// Who else is registered with a target group besides those `known`, where it tells of others. For people: nothing is
    /// decided by it.
    async fn others(&self, _group: &str, _known: &[String]) -> Result<Vec<String>, BalancerError> {
        Ok(Vec::new())
    }

    /// Asks for the new group of a pair to get `percent` of the traffic, and the old one the rest.
    async fn split(&self, pair: &Pair, percent: u8) -> Result<(), BalancerError>;

    /// The same as long as it is wanted, which is asked again right before each request that changes something. Such a
    /// request is given up after some seconds, and is not tried again here: who asks for it again asks first whether it is
    /// wanted.
    async fn split_while(
        &self,
        pair: &Pair,
        percent: u8,
        wanted: &dyn Wanted,
    ) -> Result<(), BalancerError> {
        if wanted.is_wanted().await { self.split(pair, percent).await } else { Ok(()) }
    }

    /// What sends traffic to a target group, by the names that people find it under; also what has nothing to do with a
    /// pair that it is in.
    async fn senders(&self, _group: &str) -> Result<Vec<String>, BalancerError> {
        Ok(Vec::new())
    }

    /// How much of the traffic the new group of a pair gets, in percent, as the balancer says.
    async fn percent(&self, pair: &Pair) -> Result<u8, BalancerError>;
}

/// What an alarm says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// It does not fire. An alarm without enough data does not fire.
    Quiet,
    /// It fires.
    Firing,
    /// It cannot be read; why, and what to do.
    Unreadable(String),
}

/// Sources of alarms.
#[async_trait]
pub trait Alarms: Send + Sync {
    /// Whether the alarms of several deployments are read at once with less effort than those of each: then no source
    /// behind it tells versions apart.
    fn reads_together(&self) -> bool {
        false
    }

    /// Why an alarm could never be read, where that can be said without reading it, and what to do.
    fn refusal(&self, _alarm: &str) -> Option<String> {
        None
    }

    /// What each alarm says, as many as were asked for and in their order. A source that can tell versions apart reads of
    /// what `version` brought alone.
    async fn read(&self, alarms: &[String], version: &DeploymentId) -> Vec<Reading>;

    /// What each alarm has to say to people beyond whether it fires, as many as were asked for and in their order. Nothing
    /// is decided by it, and asking changes nothing.
    async fn notes(&self, alarms: &[String], _version: &DeploymentId) -> Vec<Option<String>> {
        vec![None; alarms.len()]
    }
}

/// Keeps the balancers that an installation has itself.
#[async_trait]
pub trait BalancerAdmin: Send + Sync {
    /// Adds a balancer, which then listens. One of that name and these settings is left as it is.
    async fn add(&self, balancer: &AddBalancer) -> Result<BalancerInfo, BalancerError>;

    /// All balancers and what they have done, by name.
    async fn list(&self) -> Vec<BalancerInfo>;

    /// Removes a balancer, which then listens no more.
    async fn remove(&self, name: &str) -> Result<(), BalancerError>;

    /// The balancer whose measurements the alarm of this name reads; none if it reads no balancer of this kind.
    fn read_by(&self, alarm: &str) -> Option<String>;
}

/// Balancers and sources of alarms, plugged in.
#[derive(Clone)]
pub struct Traffic {
    /// The balancers.
    pub balancers: Arc<dyn Balancers>,
    /// The alarms.
    pub alarms: Arc<dyn Alarms>,
    /// Lambda functions.
    pub functions: Arc<dyn Functions>,
    /// Services of ECS.
    pub services: Arc<dyn Services>,
}

impl Traffic {
    /// There are none.
    pub fn none() -> Self {
        let none = Arc::new(NoTraffic);
        Self {
            balancers: none.clone(),
            alarms: none,
            functions: Arc::new(NoFunctions),
            services: Arc::new(NoServices),
        }
    }
}

/// Where there are no balancers and no sources of alarms.
#[derive(Debug, Clone, Copy)]
pub struct NoTraffic;

impl NoTraffic {
    fn unknown<T>(group: &str) -> Result<T, BalancerError> {
        let hint = "this installation has no balancers".to_owned();
        Err(BalancerError::Unknown { name: group.to_owned(), hint })
    }
}

#[async_trait]
impl Balancers for NoTraffic {
    async fn check(&self, group: &str) -> Result<(), BalancerError> {
        Self::unknown(group)
    }

    async fn admit(&self, group: &str, _: &str, _: &DeploymentId) -> Result<(), BalancerError> {
        Self::unknown(group)
    }

    async fn drain(&self, group: &str, _: &[String]) -> Result<(), BalancerError> {
        Self::unknown(group)
    }

    async fn standing(
        &self,
        group: &str,
        _: &[String],
    ) -> Result<BTreeMap<String, Standing>, BalancerError> {
        Self::unknown(group)
    }

    async fn split(&self, pair: &Pair, _: u8) -> Result<(), BalancerError> {
        Self::unknown(&pair.new)
    }

    async fn percent(&self, pair: &Pair) -> Result<u8, BalancerError> {
        Self::unknown(&pair.new)
    }
}

#[async_trait]
impl Alarms for NoTraffic {
    async fn read(&self, alarms: &[String], _: &DeploymentId) -> Vec<Reading> {
        let unreadable = |name: &String| {
            Reading::Unreadable(format!("this installation has no source for the alarm `{name}`"))
        };
        alarms.iter().map(unreadable).collect()
    }
}
