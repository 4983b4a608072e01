//! The host protocol: what a host may do, and what it says.

mod answer;
mod claim;
mod gates;
mod offers;
mod old_layout;
mod permission;
mod shift;
pub(crate) mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::deployment::Fact;
use engine::{DeploymentId, GroupId, Timestamp};
pub use gates::Gates;
use tracing::{Span, debug, instrument};
use wire::host::{
    BatchClaimRequest, BatchClaimResponse, BatchKey, ClaimRequest, ClaimResponse, EventReport,
    EventStatus, HostStatus, Offer, PollRequest, PollResponse, Refusal, RefusalCode, ReportRequest,
    ReportResponse,
};
use wire::log::without_stamps;

use crate::carriers::Carriers;
use crate::ports::{Balancers, Bundles, Dispatcher, Placed};
use crate::rows::{self, BatchRow, Group, HostRow, LogRow, LoggedEvent, OnPremises, Stored};
use crate::table::{TableError, Write};
use crate::{Base, Error, hash_of};

/// Longest a poll is held, in milliseconds; below what proxies and clients cut off.
const POLL_MS_MAX: u64 = 50_000;

/// How often it is noted at most that a host asked for work, in milliseconds.
pub const SEEN_EVERY_MS: u64 = 60_000;

/// Most groups that a host is told of at once whether there are any; about others it asks another time.
const KEPT_GROUPS_MAX: usize = 100;

/// How long after it was last said somebody counts as following a deployment's output, in milliseconds.
const FOLLOWED_MS: u64 = 5_000;

/// Most output that one report may bring, in bytes of text.
const OUTPUT_MAX: usize = 256 * 1024;

/// Answers hosts: what a host may do, and what it says.
#[derive(Clone)]
pub struct HostApi {
    /// What every role works on.
    pub base: Base,
    /// The kinds of what carries traffic.
    pub carriers: Carriers,
    /// Where hosts fetch bundles and the runner.
    pub bundles: Arc<dyn Bundles>,
    /// Who waits for work.
    pub dispatcher: Arc<dyn Dispatcher>,
    /// The balancers that hosts wait for, by where they are.
    pub balancers: Placed<Arc<dyn Balancers>>,
    /// Deployments whose output somebody follows.
    pub followed: Followed,
    /// Gates as they were a moment ago.
    pub gates: Gates,
}

/// Deployments whose output somebody follows, so that their hosts send it as it comes.
#[derive(Debug, Default, Clone)]
pub struct Followed(Arc<Mutex<BTreeMap<DeploymentId, Timestamp>>>);

impl Followed {
    fn all(&self) -> MutexGuard<'_, BTreeMap<DeploymentId, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, id: &DeploymentId, now: Timestamp) -> bool {
        self.all().get(id).is_some_and(|said| now.since_ms(*said) < FOLLOWED_MS)
    }

    /// Notes that somebody follows the output of a deployment.
    pub(crate) fn note(&self, id: &DeploymentId, now: Timestamp) {
        let mut all = self.all();
        all.retain(|_, said| now.since_ms(*said) < FOLLOWED_MS);
        all.insert(id.clone(), now);
    }
}

fn refuse(code: RefusalCode, message: impl Into<String>) -> Error {
    Error::Host(Refusal { code, message: message.into() })
}

impl HostApi {
    /// Answers a host's poll: at once if something waits for it, else as soon as something comes or the wait is over.
    #[instrument(name = "host", skip_all, fields(host = request.host))]
    pub async fn poll(&self, key: &str, request: &PollRequest) -> Result<PollResponse, Error> {
        let host = self.authenticate(&request.host, key).await?;
        let ticket = self.dispatcher.ticket(&request.host);
        self.note_seen(host).await;
        let deleted_groups = self.deleted_among(&request.kept_groups).await;
        let mut offers = self.offers_to(&request.host).await?;
        offers.retain(|offer| !request.busy.contains(&offer.deployment_id));
        // Whoever asks about groups is answered at once, and polls again.
        if offers.is_empty() && request.kept_groups.is_empty() {
            offers =
                self.dispatcher.wait(&request.host, ticket, request.wait_ms.min(POLL_MS_MAX)).await;
            offers.retain(|offer| !request.busy.contains(&offer.deployment_id));
        }
        let again_after_ms = self.dispatcher.again_after_ms();
        Ok(PollResponse { offers, again_after_ms, deleted_groups })
    }

    /// Those of some groups that there are not. None where the table does not say: the host asks again.
    async fn deleted_among(&self, groups: &[GroupId]) -> Vec<GroupId> {
        let asked: BTreeSet<&GroupId> = groups.iter().take(KEPT_GROUPS_MAX).collect();
        if asked.is_empty() {
            return Vec::new();
        }
        let keys: Vec<_> = asked.iter().map(|group| Group::key_of(group)).collect();
        match self.base.table.get_many(&keys).await {
            Ok(found) => {
                let is_there =
                    |group: &GroupId| found.iter().any(|row| row.key == Group::key_of(group));
                asked.into_iter().filter(|group| !is_there(group)).cloned().collect()
            }
            Err(error) => {
                debug!(error = &error as &dyn std::error::Error, "groups cannot be looked for");
                Vec::new()
            }
        }
    }

    async fn authenticate(&self, name: &str, key: &str) -> Result<Stored<OnPremises>, Error> {
        let host = rows::load::<OnPremises>(&*self.base.table, &OnPremises::key_of(name)).await?;
        let is_known = |host: &OnPremises| {
            host.deregistered_at.is_none()
                && host.key_hash.as_ref().is_some_and(|hash| *hash == hash_of(key))
        };
        host.filter(|host| is_known(&host.row)).ok_or_else(|| {
            let message =
                format!("host `{name}` is not registered with this key; register it again");
            refuse(RefusalCode::Unauthorized, message)
        })
    }

    /// Notes that a host asked for work, where this process cannot tell it by itself; at most once in [`SEEN_EVERY_MS`].
    async fn note_seen(&self, mut host: Stored<OnPremises>) {
        let now = self.base.now();
        let is_noted = host.row.seen_at.is_some_and(|at| now.since_ms(at) < SEEN_EVERY_MS);
        if is_noted || self.dispatcher.unheard(&host.row.name).is_some() {
            return;
        }
        host.row.seen_at = Some(now);
        let written = match host.replace() {
            Ok(write) => self.base.table.write(&[write]).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            // Its next poll tries again.
            debug!(
                host = host.row.name,
                error = &error as &dyn std::error::Error,
                "not noted as seen"
            );
        }
    }

    /// Gives a host its command, and the token to report with. Claiming again makes the token of the claim before void.
    #[instrument(name = "host", skip_all, fields(host = request.host, deployment = %request.offer.deployment_id))]
    pub async fn claim(&self, key: &str, request: &ClaimRequest) -> Result<ClaimResponse, Error> {
        self.authenticate(&request.host, key).await?;
        let Offer { deployment_id, ordinal, .. } = &request.offer;
        Ok(self.grant(&request.host, deployment_id, *ordinal).await?.claim)
    }

    /// Gives a host that was sent its command in a batch what [`Self::claim`] gives. The batch's secret shows that it
    /// was; the host itself says which of its hosts it is.
    #[instrument(name = "host", skip_all, fields(host = request.host, deployment = %request.batch.deployment_id))]
    pub async fn claim_batch(
        &self,
        secret: &str,
        request: &BatchClaimRequest,
    ) -> Result<BatchClaimResponse, Error> {
        let batch = self.authenticate_batch(&request.batch, secret).await?;
        let host = batch.hosts.iter().find(|host| host.name == request.host);
        let Some(host) = host else {
            let message = format!(
                "host `{}` is not in the batch `{}`: it may have been replaced since; nothing is to be done",
                request.host, request.batch
            );
            return Err(superseded(&message));
        };
        let granted = self.grant(&host.name, &request.batch.deployment_id, host.ordinal).await?;
        let deleted_groups = self.deleted_among(&request.kept_groups).await;
        Ok(BatchClaimResponse { deleted_groups, ..granted })
    }

    /// A URL at which a host of a batch can fetch the runner with this digest.
    pub async fn runner_url(
        &self,
        secret: &str,
        batch: &BatchKey,
        digest: &str,
    ) -> Result<String, Error> {
        self.authenticate_batch(batch, secret).await?;
        let is_digest =
            digest.len() == 64 && digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_digest {
            let message = format!("`{digest}` is no SHA-256 in lower-case hex");
            return Err(refuse(RefusalCode::Invalid, message));
        }
        Ok(self.bundles.runner_url(digest).await?)
    }

    async fn authenticate_batch(&self, batch: &BatchKey, secret: &str) -> Result<BatchRow, Error> {
        let row = rows::load::<BatchRow>(&*self.base.table, &BatchRow::key_of(batch)).await?;
        let hash = hash_of(secret);
        let row = row.map(|stored| stored.row).filter(|row| row.secrets.contains(&hash));
        let Some(row) = row else {
            let message = format!("the secret is not that of the batch `{batch}`; deploy again");
            return Err(refuse(RefusalCode::Unauthorized, message));
        };
        if self.base.now() >= row.ends_at() {
            let message = format!("the secret of the batch `{batch}` has ended; deploy again");
            return Err(refuse(RefusalCode::Unauthorized, message));
        }
        Ok(row)
    }

    /// Takes a host's report and says whether the host may go on. A report that came before, or comes after the
    /// deployment gave the host up, changes nothing.
    #[instrument(name = "host", skip_all, fields(host, group, deployment = %request.deployment_id))]
    pub async fn report(
        &self,
        token: &str,
        request: ReportRequest,
    ) -> Result<ReportResponse, Error> {
        let place = self.base.shards(&request.deployment_id).await?.key_of(request.ordinal);
        let host = loop {
            let Some(mut host) = rows::load::<HostRow>(&*self.base.table, &place).await? else {
                return Err(superseded("there is no such command"));
            };
            self.base.keep_shards(&host.row);
            Span::current().record("host", &host.row.name);
            Span::current().record("group", host.row.group_id.as_str());
            if host.row.token_hash.as_deref() != Some(&hash_of(token)) {
                let message = "the token is not that of the newest claim; claim the command again";
                return Err(refuse(RefusalCode::Unauthorized, message));
            }
            check_reach(&host.row)?;
            if host.row.has_ended() {
                break host.row;
            }
            if request.sequence <= host.row.sequence {
                // It says nothing new, and its answer gives no longer permission than the one before.
                break host.row;
            }
            host.row.stirs = false;
            let output = self.take_report(&mut host, &request)?;
            let mut writes = self.base.host_and_member(&host).await?;
            writes.extend(output);
            match self.base.table.write(&writes).await {
                Ok(()) => break host.row,
                Err(TableError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        };
        if host.has_ended() {
            self.base.waker.wake(&request.deployment_id, vec![Fact::HostsSeen(vec![host.seen()])]);
        }
        self.answer(&host, request.sequence == ReportRequest::QUESTION).await
    }

    /// Folds a report into the host's row, and returns the write that stores its output, if there is any.
    fn take_report(
        &self,
        host: &mut Stored<HostRow>,
        request: &ReportRequest,
    ) -> Result<Option<Write>, Error> {
        let row = &mut host.row;
        let now = self.base.now();
        let mut logged: Vec<LoggedEvent> = request
            .output
            .iter()
            .map(|chunk| LoggedEvent {
                event: chunk.event,
                offset: Some(chunk.offset),
                text: chunk.text.clone(),
            })
            .collect();
        let mut events = request.events.clone();
        for event in &mut events {
            let known = row.events.iter().find(|known| known.event == event.event);
            let is_new = known.is_none_or(|known| known.diagnostics.is_none());
            if let Some(diagnostics) = event.diagnostics.as_mut() {
                let tail = std::mem::take(&mut diagnostics.log_tail);
                if event.status == EventStatus::Failed {
                    diagnostics.log_tail = tail_of(&without_stamps(&tail), 4096);
                }
                if is_new && !tail.is_empty() {
                    logged.push(LoggedEvent { event: event.event, offset: None, text: tail });
                }
            }
        }
        if logged.iter().map(|piece| piece.text.len()).sum::<usize>() > OUTPUT_MAX {
            logged.retain_mut(|piece| {
                piece.text = tail_of(&piece.text, OUTPUT_MAX / 8);
                true
            });
        }
        let under_way = |events: &[EventReport]| {
            let found = events.iter().find(|event| event.status == EventStatus::InProgress);
            found.map(|event| event.event)
        };
        if row.under_way_since.is_none() || under_way(&row.events) != under_way(&events) {
            row.under_way_since = Some(now);
        }
        row.events = events;
        row.sequence = request.sequence;
        row.status = Some(request.status);
        row.heard_at = Some(now.max(row.heard_at.unwrap_or_default()));
        if logged.is_empty() {
            return Ok(None);
        }
        let output = LogRow {
            deployment_id: request.deployment_id.clone(),
            ordinal: request.ordinal,
            name: host.row.name.clone(),
            sequence: request.sequence,
            at: now,
            events: logged,
        };
        rows::put(&output).map(Some)
    }
}

fn superseded(why: &str) -> Error {
    refuse(RefusalCode::Superseded, why)
}

fn check_reach(host: &HostRow) -> Result<(), Error> {
    match host.out_of_reach {
        None => Ok(()),
        Some(rows::OutOfReach::ShutOut) => Err(superseded("the command was not claimed in time")),
        Some(rows::OutOfReach::GivenUp) => {
            Err(superseded("the host was not heard of for too long"))
        }
    }
}

/// The last `max` bytes of `text`, cut where a character begins.
fn tail_of(text: &str, max: usize) -> String {
    let from = text.len().saturating_sub(max);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text.get(from..).unwrap_or("").to_owned()
}

impl HostRow {
    /// Whether the host has said that it is done.
    pub fn has_ended(&self) -> bool {
        matches!(self.status, Some(HostStatus::Succeeded | HostStatus::Failed))
    }
}
