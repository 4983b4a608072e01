//! The end: whether a deployment is over, how, and whether it is rolled back.

use super::failure::{Failure, FailureCode};
use super::hosts::{Host, HostState};
use super::order::{AutoRollback, Creator, Order};
use super::request::Ending;
use super::state::{Deployment, Stop};
use super::status::Status;
use crate::health::Fleet;
use crate::ladder::Ladder;
use crate::{DeploymentId, Timestamp};

impl Deployment {
    /// How the deployment ends at `now`; none while it has to go on.
    pub(super) fn ending(&self, now: Timestamp) -> Option<Ending> {
        if self.order.shift.is_some() {
            return self.shift_ending(now).map(|ended| match ended {
                Ok(()) => Ending::succeeded(),
                Err(failure) => self.failed(failure),
            });
        }
        let fleet = self.hosts.fleet();
        if fleet.in_flight > 0 || self.is_withdrawing(now) {
            return None;
        }
        // A host that a halt left out is in none of the fleet's counts, and was not deployed to.
        let left_out = self.hosts.count(HostState::Skipped);
        let all_succeeded = fleet.succeeded > 0 && fleet.succeeded == fleet.own() + left_out;
        let is_halted = self.stop.is_some() || self.alarm().is_some();
        if self.sealed && all_succeeded && self.has_climbed(now) && !is_halted {
            return Some(Ending::succeeded());
        }
        let failure = match self.cut_short(now) {
            Some(failure) => failure,
            None => match self.judged_at(&fleet, now)? {
                Ok(()) if self.has_climbed(now) => return Some(Ending::succeeded()),
                Ok(()) => return None,
                Err(failure) => failure,
            },
        };
        Some(self.failed(failure))
    }

    fn failed(&self, failure: Failure) -> Ending {
        let status = failure.status();
        let (roll_back, rollback_refused) = self.rolls_back(status);
        Ending { status, failure: Some(failure), roll_back, rollback_refused }
    }

    /// The failure of a deployment that ends before all its hosts were tried for another reason than their health.
    pub(super) fn cut_short(&self, now: Timestamp) -> Option<Failure> {
        if self.broken.is_some() {
            return self.broken.clone();
        }
        if self.alarm().is_some() {
            return self.alarm_failure();
        }
        if self.stop.is_some() {
            return Some(Failure { code: FailureCode::ManualStop, message: self.stop_message() });
        }
        if let Some(denied) = self.denied_at(now) {
            return Some(denied.why);
        }
        let minutes = self.limit_ms() / 60_000;
        let message = format!(
            "The deployment took longer than its limit of {minutes} minutes. Hosts that were not reached were skipped."
        );
        (now >= self.deadline(now)).then_some(Failure { code: FailureCode::Timeout, message })
    }

    fn stop_message(&self) -> String {
        let mut message = "The deployment was stopped on request.".to_owned();
        let fleet = self.hosts.fleet();
        let is_on_all = fleet.succeeded > 0 && fleet.succeeded == fleet.total();
        if self.order.shift.is_none() && is_on_all && self.hosts.count(HostState::Skipped) == 0 {
            message.push_str(
                " The request came when all hosts were running their last lifecycle events, or had run them: all have the new revision.",
            );
        }
        message
    }

    /// What the rule of minimum healthy hosts says; nothing while there is something to do. A shift knows no zones, so
    /// that the moment does not matter.
    pub(super) fn judged(&self, fleet: &Fleet) -> Option<Result<(), Failure>> {
        self.judged_at(fleet, self.latest)
    }

    /// What the rules of the fleet and of the zone say whose turn it is at `now`; nothing while there is something to do.
    fn judged_at(&self, fleet: &Fleet, now: Timestamp) -> Option<Result<(), Failure>> {
        if !self.sealed || self.pin.is_none() {
            return None;
        }
        let rule = &self.order.rule;
        let failure = |code, message| Some(Err(Failure { code, message }));
        if fleet.total() == 0 {
            let message = match self.hosts.count(HostState::Gone) {
                0 => {
                    "No host belongs to the deployment group. Check its tags against those of the registered hosts."
                }
                _ => "All hosts of the deployment group vanished during the deployment.",
            };
            return failure(FailureCode::NoInstances, message.to_owned());
        }
        let is_begun = fleet.untouched() < fleet.own() || fleet.own() == 0;
        if !is_begun && !rule.admits(fleet.total()) {
            let message = format!(
                "`{}` keeps {} hosts healthy, and the group has {}: none could be deployed to. \
                 Choose a configuration that spares at least one host.",
                self.order.config,
                rule.required(fleet.total()),
                fleet.total()
            );
            return failure(FailureCode::HealthConstraintsInvalid, message);
        }
        if !is_begun && let Some(impossible) = self.impossible_zone() {
            return Some(Err(impossible));
        }
        if fleet.untouched() > 0 && !self.must_stop(fleet, now) {
            return None;
        }
        if rule.is_met(fleet) && self.broken_zone(now).is_none() {
            return Some(Ok(()));
        }
        failure(FailureCode::HealthConstraints, self.unhealthy_message_at(fleet, now))
    }

    pub(super) fn unhealthy_message(&self, fleet: &Fleet) -> String {
        let required = self.order.rule.required(fleet.total());
        let mut message = format!(
            "Too many hosts failed: {} of {} failed, and `{}` demands {} healthy ones.",
            fleet.failed,
            fleet.total(),
            self.order.config,
            required.max(1)
        );
        let unheard = self.hosts.count(HostState::Silent) + self.hosts.count(HostState::NotStarted);
        if unheard > 0 {
            message.push_str(&format!(
                " {unheard} of them were not heard of for {} s.",
                self.order.silence_ms / 1000
            ));
        }
        if fleet.untouched() > 0 {
            message.push_str(&format!(" {} hosts were left as they were.", fleet.untouched()));
        }
        message
    }

    /// Whether the deployment is rolled back, and why not if that was wanted.
    fn rolls_back(&self, status: Status) -> (bool, Option<String>) {
        let wanted = self.wants_rollback(status);
        let refused = |why: &str| (false, Some(why.to_owned()));
        if self.order.shift.is_some() {
            // What had the traffic was not changed: nothing is to be deployed for it to have it again.
            (false, Some(self.traffic_after(wanted)))
        } else if !wanted {
            (false, None)
        } else if !self.order.creator.is_of_group() {
            refused("Only deployments of a whole group are rolled back.")
        } else if self.order.creator == Creator::Rollback || self.order.rolls_back.is_some() {
            refused("A rollback is not rolled back itself.")
        } else if self.order.fallback.is_none() {
            refused(
                "No earlier deployment of the group has succeeded, so there is nothing to roll back to.",
            )
        } else if !self.reached_any() {
            refused("No host was touched, so there is nothing to roll back.")
        } else {
            (true, None)
        }
    }

    /// The deployment that takes `self` back to its fallback, if there is one.
    pub fn rollback(&self, id: DeploymentId, generation: u64, now: Timestamp) -> Option<Self> {
        let fallback = self.order.fallback.clone()?;
        let description = format!("Rolls back deployment {}", self.order.id);
        let order = Order {
            id,
            generation,
            creator: Creator::Rollback,
            created_at: now.max(self.latest),
            revision: fallback.revision.clone(),
            rolls_back: Some(self.order.id.clone()),
            description: Some(description),
            file_exists_behavior: fallback.file_exists_behavior,
            auto_rollback: AutoRollback::default(),
            // What worked before comes back as fast as the rule allows, and whatever fires meanwhile.
            ladder: Ladder::default(),
            zonal: None,
            watch: None,
            ..self.order.clone()
        };
        Some(Self::new(order, Some(fallback.pin)))
    }

    /// Whether the settings ask for what was before, if the deployment ends so.
    pub(super) fn wants_rollback(&self, status: Status) -> bool {
        match (&self.stop, status) {
            (Some(Stop { roll_back: Some(true), .. }), Status::Stopped | Status::Failed) => true,
            (_, Status::Stopped) if self.alarm().is_some() => self.order.auto_rollback.on_alarm,
            (Some(stop), Status::Stopped) => {
                stop.roll_back.unwrap_or(self.order.auto_rollback.on_stop)
            }
            // A shift that nobody continued.
            (None, Status::Stopped) => self.order.auto_rollback.on_stop,
            (_, Status::Failed) => self.order.auto_rollback.on_failure,
            (_, Status::Created | Status::InProgress | Status::Ready | Status::Succeeded) => false,
        }
    }

    pub(super) fn touched_any(&self) -> bool {
        self.next_batch > 0
    }

    /// Whether a host was started, or lost its traffic to an alarm.
    fn reached_any(&self) -> bool {
        let mut hosts = (0..self.hosts.len()).filter_map(|ordinal| self.hosts.get(ordinal));
        hosts.any(|host| self.has_reached_host(host))
    }

    /// Whether this deployment, which has ended, left a host other than it was: it was started, or it was sent a command
    /// and lost its traffic to an alarm before it could claim that. A rollback goes to these hosts alone.
    pub fn has_reached_host(&self, host: Host) -> bool {
        let lost_traffic = self.alarm().is_some() && self.order.traffic.is_some();
        match host.state {
            HostState::Running | HostState::Succeeded | HostState::Failed | HostState::Silent => {
                true
            }
            // It may have been started before it vanished, and may be there again.
            HostState::Gone => host.attempt > 0,
            HostState::NotStarted | HostState::Skipped => host.attempt > 0 && lost_traffic,
            HostState::Untouched | HostState::Sent | HostState::Unclaimed => false,
        }
    }
}
