//! Sending: a batch is sent until its command was accepted, and only from then on its hosts have time to claim it
//! (`docs/semantics.md#sending`).
//!
//! What is passing is tried again for as long as the deployment may take; what is denied for a quarter of an hour, in
//! which somebody may allow it.

use super::failure::{Failed, Failure, FailureCode};
use super::hosts::HostState;
use super::ordinals::Ordinals;
use super::request::Request;
use super::state::{BATCH_HOSTS_MAX, Batch, Deployment, Refusal, Sending};
use crate::Timestamp;

/// How long the command of a batch may be denied before the deployment fails, in milliseconds.
pub const DENIED_MS: u64 = 15 * 60_000;

/// How long after it was refused first, second and so on a command is sent again, in milliseconds; the last holds for all
/// that follow.
const AGAIN_MS: [u64; 4] = [2_000, 4_000, 8_000, 15_000];

/// By how much batches that are refused together are sent again one after the other, in milliseconds.
const SPREAD_MS: u64 = 150;

/// Most batches that are being sent while others already are: what cannot be sent must not fill the row.
const SENDING_MAX: u32 = 100;

impl Sending {
    /// The first try, which is made again at `again_at`.
    pub(super) fn begun(again_at: Timestamp) -> Self {
        Self { tries: 1, again_at, refused_at: None, denied_since: None }
    }

    /// The next one.
    pub(super) fn try_again(&mut self, again_at: Timestamp) {
        self.tries = self.tries.saturating_add(1);
        self.again_at = again_at;
    }

    fn wait(&mut self, from: Timestamp, batch: u32) {
        let before = usize::try_from(self.tries.saturating_sub(1)).unwrap_or(usize::MAX);
        let [.., longest] = AGAIN_MS;
        let ms = AGAIN_MS.get(before).copied().unwrap_or(longest);
        self.again_at = from.plus_ms(ms + u64::from(batch % 20) * SPREAD_MS);
    }
}

impl Deployment {
    /// The batches whose command has not been accepted, as far as is known.
    pub fn sending(&self) -> impl Iterator<Item = u32> + '_ {
        self.batches.iter().filter(|batch| batch.sending.is_some()).map(|batch| batch.id)
    }

    /// Why commands are not accepted, while there are some that were refused; and since when one of them is denied.
    pub fn refusal(&self) -> Option<(&Refusal, Option<Timestamp>)> {
        let sending = || self.batches.iter().filter_map(|batch| batch.sending.as_ref());
        let refusal = self.trouble.refusal.as_ref()?;
        let is_refused = sending().any(|sending| sending.refused_at.is_some());
        is_refused.then(|| (refusal, sending().filter_map(|sending| sending.denied_since).min()))
    }

    /// The command of a batch was accepted: its hosts have time to claim it from then on.
    pub(super) fn accepted(&mut self, batch: u32, at: Timestamp) -> bool {
        let is_sent = |known: &Batch| known.id == batch && known.sending.is_some();
        let Some(place) = self.batches.iter().position(is_sent) else { return false };
        let mut batch = self.batches.remove(place);
        batch.sending = None;
        batch.check_at = at.plus_ms(self.order.silence_ms / 2).max(self.latest.plus_ms(1));
        // A look before that found nobody late.
        batch.checked_at = None;
        batch.hosts = self.in_flight(&batch).collect();
        if !batch.hosts.is_empty() {
            self.add_batch(batch);
        }
        self.forget_refusal();
        true
    }

    /// The command of a batch was refused. It is sent again in seconds.
    pub(super) fn refused(&mut self, batch: u32, at: Timestamp, refusal: Refusal) -> bool {
        let from = at.max(self.latest);
        let known = self.batches.iter_mut().find(|known| known.id == batch);
        let Some(sending) = known.and_then(|known| known.sending.as_mut()) else { return false };
        if sending.refused_at.is_some_and(|known| known >= at) {
            return false;
        }
        sending.refused_at = Some(at);
        sending.wait(from, batch);
        if refusal.denied {
            sending.denied_since.get_or_insert(from);
        }
        // What passes by itself does not hide what somebody has to mend.
        let is_denied = self.batches.iter().any(Batch::is_denied);
        if refusal.denied || !is_denied || self.trouble.refusal.is_none() {
            self.trouble.refusal = Some(refusal);
        }
        true
    }

    /// Forgets why commands were refused once none is.
    pub(super) fn forget_refusal(&mut self) {
        if self.refusal().is_none() {
            self.trouble.refusal = None;
        }
    }

    /// Sends batches again whose command was not accepted for too long.
    pub(super) fn send_again(&self, now: Timestamp, requests: &mut Vec<Request>) {
        let is_due = |batch: &&Batch| batch.sending.is_some_and(|sending| sending.again_at <= now);
        for batch in self.batches.iter().filter(is_due) {
            let hosts: Ordinals = self.unclaimed_of(batch).collect();
            if !hosts.is_empty() {
                let (batch, attempt) = (batch.id, batch.attempt);
                requests.push(Request::Dispatch { batch, attempt, hosts });
            }
        }
    }

    /// When batches are sent again, and when one was denied for too long.
    pub(super) fn sending_moments(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let sending = self.batches.iter().filter_map(|batch| batch.sending);
        sending.flat_map(|sending| {
            let over = sending.denied_since.map(|since| since.plus_ms(DENIED_MS));
            [Some(sending.again_at), over].into_iter().flatten()
        })
    }

    /// How many more hosts can be sent their first command beside those that are being sent.
    pub(super) fn sending_allows(&self) -> u32 {
        match u32::try_from(self.sending().count()).unwrap_or(u32::MAX) {
            0 => u32::MAX,
            sending => SENDING_MAX.saturating_sub(sending) * BATCH_HOSTS_MAX,
        }
    }

    /// The hosts of a batch that have not claimed its command, as far as is known.
    pub(super) fn unclaimed_of<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = u32> + 'a {
        batch.hosts.iter().filter(|ordinal| {
            let state = self.hosts.get(*ordinal).map(|host| host.state);
            matches!(state, Some(HostState::Sent | HostState::Unclaimed))
        })
    }

    /// Since when the deployment is over because a command was denied for too long, and the failure that this is.
    pub(super) fn denied_at(&self, now: Timestamp) -> Option<Failed> {
        if self.trouble.failed.is_some() {
            return self.trouble.failed.clone();
        }
        let over = self.batches.iter().filter_map(|batch| {
            let at = batch.sending?.denied_since?.plus_ms(DENIED_MS);
            // Hosts are looked at last: there are many, and this is asked for with each fact.
            (at <= now && self.unclaimed_of(batch).next().is_some()).then_some(at)
        });
        let at = over.min()?;
        let denied = self.batches.iter().filter(|batch| batch.is_denied());
        let hosts: usize = denied.map(|batch| self.unclaimed_of(batch).count()).sum();
        let why = self.trouble.refusal.as_ref().map_or("no reason given", |why| &why.message);
        let message = format!(
            "Commands to {hosts} hosts were denied for {} minutes: {why}. These hosts were not touched. Allow what is \
             denied, as `template.yaml` does, and deploy again.",
            DENIED_MS / 60_000
        );
        Some(Failed { at, why: Failure { code: FailureCode::IamRolePermissions, message } })
    }

    /// Notes that a command was denied for too long, so that nothing that comes later undoes it.
    pub(super) fn fold_denial(&mut self, at: Timestamp) {
        self.trouble.failed = self.denied_at(at);
    }

    /// Whether a host that can no longer claim its command was left out, and did not fail: the deployment was halted, or ran
    /// out of time before the command was accepted.
    pub(super) fn was_left_out(&self, ordinal: u32) -> bool {
        let is_sending = |batch: &Batch| batch.sending.is_some() && batch.hosts.contains(ordinal);
        let is_late = self.latest >= self.deadline(self.latest);
        self.stop.is_some()
            || self.alarm().is_some()
            || self.trouble.failed.is_some()
            || (is_late && self.batches.iter().any(is_sending))
    }
}

impl Batch {
    fn is_denied(&self) -> bool {
        self.sending.is_some_and(|sending| sending.denied_since.is_some())
    }

    /// Whether a look at its hosts tells who is late in claiming the command: it was accepted, and the time for that is over.
    pub(super) fn tells_late(&self) -> bool {
        self.sending.is_none() && self.checked_at.is_some()
    }
}
