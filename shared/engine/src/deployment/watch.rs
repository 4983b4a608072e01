//! Alarms: when they are read, and what follows when one fires (`docs/semantics.md#alarms`).

use std::collections::BTreeMap;

use super::failure::{Failure, FailureCode};
use super::hosts::{Host, HostState};
use super::ordinals::Ordinals;
use super::request::Request;
use super::state::{Alarm, Deployment};
use crate::Timestamp;

/// How often in a row alarms may be unreadable before that counts, where it is not to be passed over.
const UNREADABLE_MAX: u32 = 3;

impl Deployment {
    /// Why the deployment is stopped by what watches it.
    pub fn alarm(&self) -> Option<&Alarm> {
        self.watching.alarm.as_ref()
    }

    /// When those hosts with the new version that could be spared had no traffic any more after an alarm.
    pub fn withdrawn_at(&self) -> Option<Timestamp> {
        self.watching.withdrawn_at
    }

    /// How many hosts with the new version kept their traffic after an alarm, because too few others would have had any;
    /// none before that is known.
    pub fn kept_traffic(&self) -> Option<u32> {
        self.watching.withdrawn_at.map(|_| self.watching.kept)
    }

    /// Whether nothing is started yet because the alarms were not read.
    pub(super) fn awaits_first_reading(&self) -> bool {
        self.order.watch.is_some() && !self.watching.has_read
    }

    /// Whether hosts with the new version are to lose their traffic before anything else is done. Alarms that cannot be
    /// read say nothing against the new version, and take nothing out of service.
    fn withdraws(&self) -> bool {
        self.watching.alarm.as_ref().is_some_and(|alarm| alarm.unreadable.is_none())
            && self.order.auto_rollback.on_alarm
            && self.order.traffic.is_some()
            && self.watching.withdrawn_at.is_none()
            && self.touched_any()
    }

    /// Whether the end has to wait for that.
    pub(super) fn is_withdrawing(&self, now: Timestamp) -> bool {
        self.withdraws() && !self.is_in_vain(&Request::Withdraw, now)
    }

    /// What is to be asked of balancers and alarms at `now`.
    pub(super) fn watch(&self, now: Timestamp, requests: &mut Vec<Request>) {
        if self.withdraws() && self.is_due(&Request::Withdraw, now) {
            requests.push(Request::Withdraw);
        }
        if self.reads_alarms_at(now).is_some_and(|at| at <= now)
            && self.is_due(&Request::ReadAlarms, now)
        {
            requests.push(Request::ReadAlarms);
        }
    }

    /// When the alarms are to be read next.
    pub(super) fn reads_alarms_at(&self, now: Timestamp) -> Option<Timestamp> {
        let watch = self.order.watch.as_ref().filter(|_| self.watching.alarm.is_none())?;
        let next = |asked: Timestamp| asked.plus_ms(watch.every_ms.max(1));
        Some(self.watching.asked_at.map_or(now, next))
    }

    pub(super) fn ask_for_alarms(&mut self, at: Timestamp) {
        self.watching.asked_at = Some(at);
    }

    /// Takes what the alarms say. One that fires stops the deployment, and so do some that cannot be read.
    pub(super) fn take_reading(
        &mut self,
        firing: Vec<String>,
        unreadable: Option<String>,
        notes: BTreeMap<String, String>,
    ) -> bool {
        let was_asked = self.answered(&Request::ReadAlarms);
        let Some(watch) = self.order.watch.as_ref().filter(|_| self.watching.alarm.is_none())
        else {
            return was_asked;
        };
        let counts = unreadable.is_some() && !watch.ignores_unreadable;
        let known = self.watching.clone();
        // A reading that was not asked for, or that comes a second time, is not one more in a row.
        let one = u32::from(was_asked);
        self.watching.unreadable = if counts { known.unreadable + one } else { 0 };
        self.watching.has_read |= !counts;
        let is_over = !firing.is_empty() || self.watching.unreadable >= UNREADABLE_MAX;
        if is_over {
            // Later than any check that was decided, as a request to stop is.
            let at = self.latest.plus_ms(1);
            self.latest = at;
            let unreadable = unreadable.filter(|_| firing.is_empty());
            self.watching.alarm = Some(Alarm { at, names: firing, unreadable, notes });
        }
        was_asked || self.watching != known
    }

    /// Those hosts with the new version that could be spared have no traffic any more; `kept` others have.
    pub(super) fn withdrawn(&mut self, kept: u32) -> bool {
        let was_asked = self.answered(&Request::Withdraw);
        if was_asked && self.watching.withdrawn_at.is_none() {
            self.watching.withdrawn_at = Some(self.latest);
            self.watching.kept = kept;
        }
        was_asked
    }

    /// Those of the hosts `serving`, which have traffic of a target group, and `starting`, which are about to, that are to
    /// lose it because of an alarm. As many keep it as the rule of minimum healthy hosts demands, and none loses it where no
    /// host with the old version is left to take it.
    ///
    /// Hosts in flight may lose their traffic at any moment by themselves, so nobody relies on them. The same hosts come out
    /// while the balancer does as asked, however often it is looked at meanwhile.
    pub fn to_withdraw(&self, serving: &Ordinals, starting: &Ordinals) -> Ordinals {
        let is = |ordinal: u32, what: fn(Host) -> bool| self.hosts.get(ordinal).is_some_and(what);
        let is_steady = |host: Host| !host.state.in_flight() && host.state != HostState::Gone;
        let steady: Vec<u32> = serving.iter().filter(|at| is(*at, is_steady)).collect();
        let total = self.hosts.len() - self.hosts.count(HostState::Gone);
        let minimum = usize::try_from(self.order.rule.minimum(total)).unwrap_or(usize::MAX);
        let has_old = steady.iter().any(|at| is(*at, |host| host.attempt == 0));
        if !has_old || steady.len() < minimum {
            return Ordinals::default();
        }
        let is_new = |host: Host| host.attempt > 0;
        let spared = steady.len() - minimum;
        let new = steady.iter().copied().filter(|at| is(*at, is_new)).take(spared);
        let uncounted = serving.iter().filter(|at| !is(*at, is_steady)).chain(starting.iter());
        new.chain(uncounted.filter(|at| is(*at, is_new))).collect()
    }

    /// The failure that an alarm is, in CodeDeploy's words and with what to do.
    pub(super) fn alarm_failure(&self) -> Option<Failure> {
        let alarm = self.watching.alarm.as_ref()?;
        let mut message = match &alarm.unreadable {
            Some(why) => format!(
                "The alarms could not be read {UNREADABLE_MAX} times in a row, so the deployment was stopped: {why}. \
                 Mend that, or set ignorePollAlarmFailure."
            ),
            None => format!(
                "One or more alarms have been activated according to the metrics you selected, and the affected \
                 deployments have been stopped. Activated alarms: {}",
                alarm.names.join(" ")
            ),
        };
        if !self.order.auto_rollback.on_alarm && self.order.shift.is_none() && self.touched_any() {
            message.push_str(
                " Hosts that have the new version keep it and their traffic, because DEPLOYMENT_STOP_ON_ALARM is not \
                 among the events of autoRollbackConfiguration. Take it back with `cutover rollback`.",
            );
        }
        if self.watching.kept > 0 {
            message.push_str(&format!(
                " {} of the hosts with the new version kept their traffic: without them too few hosts would have had any.",
                self.watching.kept
            ));
        }
        Some(Failure { code: FailureCode::AlarmActive, message })
    }
}
