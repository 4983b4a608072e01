//! Traffic of single hosts: they lose it before they are changed, and get it back after (`docs/semantics.md#traffic`).
//!
//! A host in a traffic event reports again and again, and each report is one look at its balancers: what is missing is
//! asked for, and what they say decides. So nothing has to be remembered, and a look that is lost or doubled changes
//! nothing.

use engine::deployment::{Fired, Gate};
use engine::lifecycle::Event;
use futures::future::try_join_all;
use tracing::{info, warn};
use wire::host::{EventReport, EventStatus, TrafficAnswer};

use crate::ports::{BalancerError, Balancers, Standing};
use crate::rows::{HostRow, SpecificationRow};
use crate::{Error, HostApi};

/// The part of the time that a host has waited after which it is looked at again: a fifth.
const CHECKS: u64 = 5;

/// Why a look fails whose deployment is not there any more.
const DELETED: &str = "the host gets no traffic: the deployment was deleted";

/// The event of some kind that is under way on a host.
pub(super) fn event_of(host: &HostRow, is_wanted: fn(Event) -> bool) -> Option<Event> {
    let is_under_way =
        |report: &&EventReport| is_wanted(report.event) && report.status == EventStatus::InProgress;
    host.events.iter().find(is_under_way).map(|report| report.event)
}

/// Whether a host is in an event in which it may wait for its traffic.
pub(super) fn may_wait(host: &HostRow) -> bool {
    event_of(host, |event| event.is_of_balancer() || is_held(event)).is_some()
}

/// The events in which a host of a shift waits.
pub(super) fn is_held(event: Event) -> bool {
    matches!(event, Event::BeforeAllowTraffic | Event::AllowTraffic)
}

/// What a look comes to that could not be taken.
fn checks_again(host: &HostRow, error: &Error) -> TrafficCheck {
    let (id, error) = (&host.deployment_id, error as &dyn std::error::Error);
    warn!(deployment = %id, host = host.name, error, "its deployment cannot be read; will look again");
    TrafficCheck::Waits
}

/// What a look at a host's balancers found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrafficCheck {
    Waits,
    Passed,
    Failed(String),
}

/// How all target groups stand that a host is in: as the one that is furthest from what is wanted.
fn all_stand(standings: &[Standing], wanted: fn(&Standing) -> bool) -> bool {
    standings.iter().all(wanted)
}

impl HostApi {
    /// Looks at the balancers for a host that waits in a traffic event; none if it waits in none.
    pub(crate) async fn traffic_answer(
        &self,
        gate: &Gate,
        host: &HostRow,
    ) -> Option<TrafficAnswer> {
        let (event, again_after_ms) = match gate.stage() {
            Some(stage) => self.shift_wait(gate, stage, host)?,
            None => (event_of(host, Event::is_of_balancer)?, self.check_again_ms(host)),
        };
        let check =
            self.check_traffic(gate, host, event).await.unwrap_or_else(|error| match error {
                error @ (BalancerError::Unknown { .. } | BalancerError::Refused { .. }) => {
                    TrafficCheck::Failed(error.to_string())
                }
                error @ BalancerError::Unavailable { .. } => {
                    warn!(
                        host = host.name,
                        error = &error as &dyn std::error::Error,
                        "will look again"
                    );
                    TrafficCheck::Waits
                }
            });
        Some(match check {
            TrafficCheck::Waits => {
                TrafficAnswer { event, done: false, failed: None, again_after_ms }
            }
            TrafficCheck::Passed => {
                TrafficAnswer { event, done: true, failed: None, again_after_ms }
            }
            TrafficCheck::Failed(why) => {
                TrafficAnswer { event, done: false, failed: Some(why), again_after_ms }
            }
        })
    }

    /// After how long a host that waits for its balancers is looked at again: the longer it has waited, the later.
    pub(crate) fn check_again_ms(&self, host: &HostRow) -> u64 {
        let (least, most) =
            (self.base.settings.traffic_check_ms, self.base.settings.traffic_check_max_ms);
        let waited = host.under_way_since.map_or(0, |since| self.base.now().since_ms(since));
        (waited / CHECKS).clamp(least, most.max(least))
    }

    async fn check_traffic(
        &self,
        gate: &Gate,
        host: &HostRow,
        event: Event,
    ) -> Result<TrafficCheck, BalancerError> {
        let SpecificationRow { order, place, .. } = match self.specification(host).await {
            Ok(Some(specification)) => specification,
            Ok(None) => return Ok(TrafficCheck::Failed(DELETED.to_owned())),
            Err(error) => return Ok(checks_again(host, &error)),
        };
        let balancers = match self.balancers.at(place.as_ref()).await {
            Ok(balancers) => balancers,
            Err(error) => return Ok(checks_again(host, &error.into())),
        };
        let balancers = &*balancers;
        if gate.stage().is_some() {
            return self.check_shift(balancers, gate, &order, host, event).await;
        }
        let groups = order.traffic.as_ref().map(|traffic| traffic.groups.as_slice());
        let groups = groups.unwrap_or_default();
        if event == Event::BlockTraffic {
            return let_out(balancers, groups, &host.name).await;
        }
        self.let_in(balancers, groups, host).await
    }

    /// Lets a host into its target groups; passed when all of them send it traffic.
    async fn let_in(
        &self,
        balancers: &dyn Balancers,
        groups: &[String],
        row: &HostRow,
    ) -> Result<TrafficCheck, BalancerError> {
        let (id, host) = (&row.deployment_id, row.name.as_str());
        let mut stand = standings(balancers, groups, host).await?;
        let mut is_changed = false;
        for (group, standing) in groups.iter().zip(&stand) {
            if matches!(standing, Standing::Out | Standing::Draining) {
                // Asked as late as can be: after an alarm is known, nothing lets a host in.
                if let Some(refused) = self.refuses_traffic(row).await {
                    return Ok(refused);
                }
                balancers.admit(group, host, id).await?;
                is_changed = true;
                info!(host, group, "is to get traffic");
            }
        }
        // An alarm that came meanwhile may not have seen this host: then what was done here is undone. One that has had
        // traffic for longer is left to the withdrawal, which knows how many can be spared.
        if let Some(refused) = self.refuses_traffic(row).await {
            if is_changed && matches!(refused, TrafficCheck::Failed(_)) {
                for group in groups {
                    balancers.drain(group, &[host.to_owned()]).await?;
                }
            }
            return Ok(refused);
        }
        if is_changed {
            stand = standings(balancers, groups, host).await?;
        }
        let is_in = all_stand(&stand, |standing| *standing == Standing::In);
        Ok(if is_in { TrafficCheck::Passed } else { TrafficCheck::Waits })
    }

    /// What a look comes to because hosts of a deployment may not be given traffic any more; none if they may.
    pub(crate) async fn refuses_traffic(&self, host: &HostRow) -> Option<TrafficCheck> {
        let why = match self.permission(host).await {
            Ok(Some(permission)) => {
                let by = match permission.gate.alarm()? {
                    Fired::Alarm => "an alarm",
                    Fired::Unreadable => "its alarms",
                };
                format!("the host gets no traffic: the deployment was stopped by {by}")
            }
            Ok(None) => DELETED.to_owned(),
            // What is not known is looked at again; until then nothing is let in.
            Err(error) => return Some(checks_again(host, &error)),
        };
        Some(TrafficCheck::Failed(why))
    }
}

/// Takes a host out of its target groups; passed when none of them has traffic for it any more.
async fn let_out(
    balancers: &dyn Balancers,
    groups: &[String],
    host: &str,
) -> Result<TrafficCheck, BalancerError> {
    let hosts = [host.to_owned()];
    let mut stand = standings(balancers, groups, host).await?;
    let mut is_changed = false;
    for (group, standing) in groups.iter().zip(&stand) {
        if matches!(standing, Standing::In | Standing::Starting(_)) {
            balancers.drain(group, &hosts).await?;
            is_changed = true;
            info!(host, group, "gets no new traffic");
        }
    }
    if is_changed {
        stand = standings(balancers, groups, host).await?;
    }
    let is_out = all_stand(&stand, |standing| *standing == Standing::Out);
    Ok(if is_out { TrafficCheck::Passed } else { TrafficCheck::Waits })
}

/// How a host stands with each of some target groups.
async fn standings(
    balancers: &dyn Balancers,
    groups: &[String],
    host: &str,
) -> Result<Vec<Standing>, BalancerError> {
    let hosts = [host.to_owned()];
    let looks = groups.iter().map(|group| balancers.standing(group, &hosts));
    let found = try_join_all(looks).await?;
    Ok(found.into_iter().map(|mut of| of.remove(host).unwrap_or(Standing::Out)).collect())
}
