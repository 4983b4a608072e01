//! Target groups of Elastic Load Balancing: instances that are registered and deregistered there, and what the load
//! balancer says of them. The weights of two groups are in `forwarding`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::config::timeout::TimeoutConfig;
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::types::{
    TargetDescription, TargetGroup, TargetHealth, TargetHealthDescription,
    TargetHealthReasonEnum as Reason, TargetHealthStateEnum as State, TargetTypeEnum,
};
use aws_sdk_elasticloadbalancingv2::{Client, Config};
use control::ports::{BalancerError, Balancers, CloudError, Pair, Standing, Wanted};
use engine::DeploymentId;

use crate::error::{HasStatus, cloud_error};

const SERVICE: &str = "Elastic Load Balancing";

/// How long the answer to a request may take that changes who has traffic.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Most targets of one request; the service names no limit.
const TARGETS_MAX: usize = 100;

/// What the service says of a target group that is not there, and of a target that is not.
const NO_GROUP: &str = "TargetGroupNotFound";
const NO_TARGET: &str = "InvalidTarget";

/// Target groups by their names.
#[derive(Debug, Clone)]
pub struct TargetGroups {
    pub(crate) client: Client,
    /// Those that were found before, so that a look takes one call and not two.
    known: Arc<Mutex<BTreeMap<String, Known>>>,
}

/// What of a target group does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) arn: String,
    /// What its targets are.
    kind: TargetTypeEnum,
    /// The port that targets have which were registered without one.
    port: Option<i32>,
    /// The load balancers with a listener that forwards to it.
    pub(crate) load_balancers: Vec<String>,
}

impl TargetGroups {
    /// The target groups that a client of this configuration reaches.
    pub fn new(config: impl Into<Config>) -> Self {
        Self { client: Client::from_conf(config.into()), known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A target group that hosts can be targets of.
    async fn of_hosts(&self, name: &str) -> Result<Known, BalancerError> {
        let known = self.known().get(name).cloned();
        let known = match known {
            Some(known) => known,
            None => self.ask_for(name).await?,
        };
        check_kind(name, &known.kind)?;
        Ok(known)
    }

    /// Asks for a target group, also where one of that name is known.
    pub(crate) async fn ask_for(&self, name: &str) -> Result<Known, BalancerError> {
        if name.contains(':') {
            let hint = "in the cloud a balancer is the name of a target group, without a scheme and without its ARN";
            return Err(BalancerError::Unknown { name: name.to_owned(), hint: hint.to_owned() });
        }
        let found = match self.client.describe_target_groups().names(name).send().await {
            Ok(found) => found.target_groups.unwrap_or_default().into_iter().next(),
            Err(error) if error.code() == Some(NO_GROUP) => None,
            Err(error) => return Err(self.error(name, "DescribeTargetGroups", error)),
        };
        let known = found.map(|found| known_of(name, found)).transpose()?;
        let known = known.ok_or_else(|| BalancerError::Unknown {
            name: name.to_owned(),
            hint: "there is no target group of that name in this account and region".to_owned(),
        })?;
        // One that nothing forwards to may yet be given a listener.
        if !known.load_balancers.is_empty() {
            self.known().insert(name.to_owned(), known.clone());
        }
        Ok(known)
    }

    /// A target group that a load balancer forwards to.
    async fn in_use(&self, name: &str) -> Result<Known, BalancerError> {
        let known = self.of_hosts(name).await?;
        if known.load_balancers.is_empty() {
            let message = "no listener forwards to it, so that no host would ever be found healthy there: give it one";
            return Err(refused(name, message));
        }
        Ok(known)
    }

    /// All that the service says of a group's targets. It is asked for all, because it is told of a target together with
    /// the port that it was registered with, which only its answer tells, and because one instance that does not exist any
    /// more would have it refuse the whole question.
    async fn targets(
        &self,
        name: &str,
    ) -> Result<(Known, Vec<TargetHealthDescription>), BalancerError> {
        let known = self.of_hosts(name).await?;
        let found = self.client.describe_target_health().target_group_arn(&known.arn).send().await;
        let found = found.map_err(|error| self.error(name, "DescribeTargetHealth", error))?;
        Ok((known, found.target_health_descriptions.unwrap_or_default()))
    }

    /// What an error means for the target group called so.
    pub(crate) fn error<E, R>(
        &self,
        name: &str,
        operation: &'static str,
        error: SdkError<E, R>,
    ) -> BalancerError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + HasStatus + 'static,
    {
        let code = error.code().map(str::to_owned);
        let is_gone = code.as_deref() == Some(NO_GROUP);
        if is_gone {
            // Another one of this name may be there by now: the next look tells.
            self.known().remove(name);
        }
        match cloud_error(SERVICE, operation, error) {
            CloudError::Refused { message, .. } if !is_gone => {
                let hint = match code.as_deref() {
                    Some("AccessDenied" | "AccessDeniedException") => {
                        "; does it carry the tag `cutover` with the name of Cutover's stack?"
                    }
                    _ => "",
                };
                refused(name, &format!("{operation}: {message}{hint}"))
            }
            error @ (CloudError::Refused { .. } | CloudError::Unavailable { .. }) => {
                BalancerError::Unavailable { name: name.to_owned(), source: Box::new(error) }
            }
        }
    }
}

pub(crate) fn refused(name: &str, message: &str) -> BalancerError {
    BalancerError::Refused { name: name.to_owned(), message: message.to_owned() }
}

/// Refuses a target group whose targets are no hosts.
fn check_kind(name: &str, kind: &TargetTypeEnum) -> Result<(), BalancerError> {
    if *kind == TargetTypeEnum::Instance {
        return Ok(());
    }
    let message = format!(
        "its targets are of the type `{}`, and hosts are known by their instance ids: use a target group of the type `instance`",
        kind.as_str()
    );
    Err(refused(name, &message))
}

/// What is remembered of a target group.
fn known_of(name: &str, group: TargetGroup) -> Result<Known, BalancerError> {
    let kind = group.target_type.unwrap_or(TargetTypeEnum::Instance);
    let arn = group.target_group_arn.ok_or_else(|| refused(name, "it has no ARN"))?;
    let load_balancers = group.load_balancer_arns.unwrap_or_default();
    Ok(Known { arn, kind, port: group.port, load_balancers })
}

/// For requests that change who has traffic: they are given up soon, and not tried again unasked, so that none comes about
/// long after somebody has looked whether it is wanted.
pub(crate) fn at_once() -> aws_sdk_elasticloadbalancingv2::config::Builder {
    let timeout = TimeoutConfig::builder().operation_timeout(ANSWER_WITHIN).build();
    Config::builder().retry_config(RetryConfig::disabled()).timeout_config(timeout)
}

fn target(id: &str) -> TargetDescription {
    TargetDescription::builder().id(id).build()
}

/// How a target stands. One that is registered and cannot be used says why, since nobody would see it otherwise.
fn standing_of(health: &TargetHealth) -> Standing {
    let state = health.state.as_ref();
    if state == Some(&State::Healthy) {
        Standing::In
    } else if state == Some(&State::Draining) {
        Standing::Draining
    } else if state == Some(&State::Unused) && health.reason != Some(Reason::NotInUse) {
        Standing::Out
    } else {
        Standing::Starting(words_of(health))
    }
}

fn words_of(health: &TargetHealth) -> Option<String> {
    let reason = health.reason.as_ref().map(Reason::as_str);
    match (health.description.as_deref(), reason) {
        (Some(description), Some(reason)) => Some(format!("{description} ({reason})")),
        (words, reason) => words.or(reason).map(str::to_owned),
    }
}

/// Which of two is further from having no traffic: for an instance that is registered with several ports.
fn further_in(one: Standing, other: Standing) -> Standing {
    let rank = |standing: &Standing| match standing {
        Standing::Out => 0,
        Standing::Starting(_) => 1,
        Standing::Draining => 2,
        Standing::In => 3,
    };
    if rank(&other) > rank(&one) { other } else { one }
}

/// How each of `hosts` stands, of what the service says of all targets.
fn standings_of(
    targets: Vec<TargetHealthDescription>,
    hosts: &[String],
) -> BTreeMap<String, Standing> {
    let mut standings: BTreeMap<String, Standing> =
        hosts.iter().map(|host| (host.clone(), Standing::Out)).collect();
    for TargetHealthDescription { target, target_health, .. } in targets {
        let id = target.and_then(|target| target.id).unwrap_or_default();
        if let (Some(standing), Some(health)) = (standings.get_mut(&id), target_health) {
            let known = std::mem::replace(standing, Standing::Out);
            *standing = further_in(known, standing_of(&health));
        }
    }
    standings
}

/// Those of `hosts` that are registered and do not drain.
///
/// # Errors
/// The first one that has a port of its own: it could be taken out, and not put back as it was.
fn to_deregister(
    port: Option<i32>,
    targets: &[TargetHealthDescription],
    hosts: &[String],
) -> Result<Vec<String>, String> {
    let mut ids = Vec::new();
    for TargetHealthDescription { target, target_health, .. } in targets {
        let Some(target) = target else { continue };
        let Some(id) = target.id.as_ref().filter(|id| hosts.contains(id)) else { continue };
        let state = target_health.as_ref().and_then(|health| health.state.as_ref());
        if state == Some(&State::Draining) {
            continue;
        }
        if let (Some(own), Some(port)) = (target.port, port)
            && own != port
        {
            return Err(format!(
                "`{id}` is registered with the port {own}, and the group's is {port}: Cutover registers hosts with the \
                 group's port, so make it that one"
            ));
        }
        ids.push(id.clone());
    }
    Ok(ids)
}

#[async_trait]
impl Balancers for TargetGroups {
    async fn check(&self, group: &str) -> Result<(), BalancerError> {
        self.known().remove(group);
        self.in_use(group).await.map(drop)
    }

    async fn admit(&self, group: &str, host: &str, _: &DeploymentId) -> Result<(), BalancerError> {
        let known = self.in_use(group).await?;
        let request = self.client.register_targets().target_group_arn(known.arn);
        let request = request.targets(target(host)).customize().config_override(at_once());
        let admitted = request.send().await;
        admitted.map(drop).map_err(|error| self.error(group, "RegisterTargets", error))
    }

    async fn drain(&self, group: &str, hosts: &[String]) -> Result<(), BalancerError> {
        let (known, targets) = self.targets(group).await?;
        let ids = to_deregister(known.port, &targets, hosts);
        for some in ids.map_err(|message| refused(group, &message))?.chunks(TARGETS_MAX) {
            let targets = Some(some.iter().map(|id| target(id)).collect());
            let request = self.client.deregister_targets().target_group_arn(&known.arn);
            let request = request.set_targets(targets).customize();
            match request.config_override(at_once()).send().await {
                Ok(_) => {}
                // Somebody took one of them out meanwhile: what is left is seen at the next look.
                Err(error) if error.code() == Some(NO_TARGET) => {
                    let name = group.to_owned();
                    return Err(BalancerError::Unavailable { name, source: Box::new(error) });
                }
                Err(error) => return Err(self.error(group, "DeregisterTargets", error)),
            }
        }
        Ok(())
    }

    async fn standing(
        &self,
        group: &str,
        hosts: &[String],
    ) -> Result<BTreeMap<String, Standing>, BalancerError> {
        if hosts.is_empty() {
            return Ok(BTreeMap::new());
        }
        Ok(standings_of(self.targets(group).await?.1, hosts))
    }

    async fn others(&self, group: &str, known: &[String]) -> Result<Vec<String>, BalancerError> {
        let targets = self.targets(group).await?.1.into_iter();
        let ids = targets.filter_map(|described| described.target?.id);
        Ok(ids.filter(|id| !known.contains(id)).collect())
    }

    async fn split(&self, pair: &Pair, percent: u8) -> Result<(), BalancerError> {
        self.set_percent(pair, percent, None).await
    }

    async fn split_while(
        &self,
        pair: &Pair,
        percent: u8,
        wanted: &dyn Wanted,
    ) -> Result<(), BalancerError> {
        self.set_percent(pair, percent, Some(wanted)).await
    }

    async fn senders(&self, group: &str) -> Result<Vec<String>, BalancerError> {
        self.senders_of(group).await
    }

    async fn percent(&self, pair: &Pair) -> Result<u8, BalancerError> {
        self.read_percent(pair).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(
        id: &str,
        port: i32,
        state: &str,
        reason: Option<&str>,
    ) -> TargetHealthDescription {
        let health = TargetHealth::builder()
            .state(State::from(state))
            .set_reason(reason.map(Reason::from))
            .set_description(reason.map(|_| "Said the balancer".to_owned()));
        TargetHealthDescription::builder()
            .target(TargetDescription::builder().id(id).port(port).build())
            .target_health(health.build())
            .build()
    }

    fn stands(state: &str, reason: Option<&str>) -> Standing {
        let hosts = ["i-1".to_owned()];
        standings_of(vec![described("i-1", 80, state, reason)], &hosts).remove("i-1").unwrap()
    }

    #[test]
    fn a_target_stands_as_its_health_says() {
        let starting = |words: &str| Standing::Starting(Some(words.to_owned()));
        assert_eq!(stands("healthy", None), Standing::In);
        assert_eq!(stands("draining", Some("Target.DeregistrationInProgress")), Standing::Draining);
        assert_eq!(stands("unused", Some("Target.NotRegistered")), Standing::Out);
        assert_eq!(stands("unused", Some("Target.InvalidState")), Standing::Out);
        assert_eq!(
            stands("initial", Some("Elb.InitialHealthChecking")),
            starting("Said the balancer (Elb.InitialHealthChecking)")
        );
        assert_eq!(
            stands("unhealthy", Some("Target.ResponseCodeMismatch")),
            starting("Said the balancer (Target.ResponseCodeMismatch)")
        );
        assert_eq!(
            stands("unused", Some("Target.NotInUse")),
            starting("Said the balancer (Target.NotInUse)")
        );
        assert_eq!(stands("unavailable", None), Standing::Starting(None));
        assert_eq!(stands("a state of tomorrow", None), Standing::Starting(None));
    }

    #[test]
    fn a_host_that_is_not_registered_is_out_and_nobody_else_is_told_of() {
        let hosts = ["i-1".to_owned(), "i-2".to_owned()];
        let targets =
            vec![described("i-2", 80, "healthy", None), described("i-3", 80, "healthy", None)];
        let expected = [("i-1".to_owned(), Standing::Out), ("i-2".to_owned(), Standing::In)];
        assert_eq!(standings_of(targets, &hosts), expected.into());
    }

    #[test]
    fn a_host_with_several_ports_has_traffic_as_long_as_one_of_them_has() {
        let hosts = ["i-1".to_owned()];
        for states in [["draining", "healthy"], ["healthy", "initial"]] {
            let targets = [80, 81]
                .into_iter()
                .zip(states)
                .map(|(port, state)| described("i-1", port, state, None));
            assert_eq!(standings_of(targets.collect(), &hosts)["i-1"], Standing::In, "{states:?}");
        }
    }

    #[test]
    fn those_are_deregistered_that_are_there_and_do_not_drain() {
        let targets = [
            described("i-1", 80, "healthy", None),
            described("i-2", 80, "draining", None),
            described("i-3", 80, "unhealthy", None),
            described("i-4", 80, "healthy", None),
        ];
        let hosts = ["i-1", "i-2", "i-3", "i-9"].map(str::to_owned);
        assert_eq!(to_deregister(Some(80), &targets, &hosts).unwrap(), ["i-1", "i-3"]);
        let why = to_deregister(Some(8080), &targets, &hosts).unwrap_err();
        assert!(why.contains("`i-1`") && why.contains("port 80") && why.contains("8080"), "{why}");
    }

    #[test]
    fn only_target_groups_of_instances_are_taken() {
        let group = |kind: &str| {
            let group = TargetGroup::builder().target_type(TargetTypeEnum::from(kind));
            group.target_group_arn("arn").port(80).load_balancer_arns("balancer").build()
        };
        let known = known_of("web", group("instance")).unwrap();
        assert_eq!(known.load_balancers, ["balancer"]);
        for kind in ["ip", "lambda", "alb"] {
            let known = known_of("web", group(kind)).unwrap();
            let why = check_kind("web", &known.kind).unwrap_err().to_string();
            assert!(why.contains("`web`") && why.contains(&format!("`{kind}`")), "{why}");
        }
    }
}
