//! The tie between a command and home: the permission to start events, and the reports that renew it
//! (`docs/semantics.md#hosts`).
//!
//! A permission counts from the moment its question was *sent*, on a clock that goes on while the machine sleeps. It is
//! never longer here than the server thinks. Before each script home is asked all the same, so that a stop is heard at
//! once; the permission is what carries a command on while home does not answer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::lifecycle::Event;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use wire::host::{
    ClaimResponse, EventReport, HostStatus, Offer, OutputChunk, Refusal, RefusalCode,
    ReportRequest, Specification,
};

use crate::client::{BackOff, CallError, Client};
use crate::output::first_bytes;

/// How often output is sent that somebody follows.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);
/// How long home has to say whether a script may start, before the permission decides that there is.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// How much output one report carries at most.
const OUTPUT_BYTES: usize = 256 << 10;

/// Whether an event may start.
#[derive(Debug, Clone)]
enum Permission {
    /// Until then, on the clock of [`awake`].
    Until(Duration),
    /// Not any more, and why.
    Withdrawn(String),
}

/// Why an event of the balancer does not end well.
#[derive(Debug, Clone)]
pub(crate) enum Unmet {
    /// The balancer cannot do it.
    Failed(String),
    /// Home wants nothing more of the host.
    Withdrawn(String),
}

impl Permission {
    /// What a claim gives, which counts until then.
    fn of(claim: &ClaimResponse, until: Duration) -> Self {
        if claim.proceed {
            return Self::Until(until);
        }
        Self::withdrawn(claim.reason.clone())
    }

    fn withdrawn(reason: Option<String>) -> Self {
        let unsaid = || "the deployment goes on without this host".to_owned();
        Self::Withdrawn(reason.unwrap_or_else(unsaid))
    }

    /// Whether an event may start now; none if home has to be heard of first.
    fn now(&self) -> Option<Result<(), String>> {
        match self {
            Self::Until(until) if awake() < *until => Some(Ok(())),
            Self::Until(_) => None,
            Self::Withdrawn(reason) => Some(Err(reason.clone())),
        }
    }
}

/// An event of the balancer that the host waits for.
#[derive(Debug)]
struct Gate {
    event: Event,
    /// How soon home is asked again.
    again: Duration,
    /// How it ended.
    end: Option<Result<(), String>>,
}

/// A command that was claimed.
#[derive(Debug)]
pub(crate) struct Lease {
    client: Arc<Client>,
    offer: Offer,
    logs: PathBuf,
    interval: Duration,
    keys: tokio::sync::Mutex<Keys>,
    state: Mutex<State>,
    changed: Notify,
    gate_ended: Notify,
    permission: watch::Sender<Permission>,
}

/// What a claim gives, and the next one makes void.
#[derive(Debug)]
struct Keys {
    token: String,
    bundle_url: String,
}

#[derive(Debug)]
struct State {
    events: Vec<EventReport>,
    status: HostStatus,
    sequence: u64,
    /// Whether home has not heard of the last change.
    is_news: bool,
    heard_at: Instant,
    lease: Duration,
    follow: bool,
    /// How much of each event's log was sent.
    sent: BTreeMap<Event, u64>,
    gate: Option<Gate>,
}

/// Claims a command, however long it takes; an error says why it is not to be had any more.
pub(crate) async fn claim(
    client: &Client,
    offer: &Offer,
) -> Result<(ClaimResponse, Duration), Refusal> {
    let mut back_off = BackOff::default();
    loop {
        let sent_at = awake();
        match client.claim(offer).await {
            Ok(claim) => {
                let until = sent_at.saturating_add(Duration::from_millis(claim.lease_ms));
                return Ok((claim, until));
            }
            // A key may be put right; the secret of a batch is what it is.
            Err(CallError::Refused(refusal))
                if refusal.code != RefusalCode::Unauthorized || client.is_pushed() =>
            {
                return Err(refusal);
            }
            Err(error) => wait_after(client, &error, &mut back_off).await,
        }
    }
}

/// How long to wait before a question is asked again. A home that is not there is looked for often; the address of a
/// push is that of a whole fleet, which spares it.
pub(crate) fn wait_for(client: &Client, error: &CallError, back_off: &mut BackOff) -> Duration {
    let most = match error {
        CallError::Unreachable(_) if !client.is_pushed() => Duration::from_millis(600),
        CallError::Unreachable(_) | CallError::Status(_) | CallError::Refused(_) => {
            Duration::from_secs(5)
        }
    };
    back_off.next(Duration::from_millis(200), most)
}

async fn wait_after(client: &Client, error: &CallError, back_off: &mut BackOff) {
    tracing::debug!(%error, "asking again soon");
    tokio::time::sleep(wait_for(client, error, back_off)).await;
}

impl Lease {
    /// Begins with the answer to a claim. `run` counts the claims of this command on this host.
    pub(crate) fn new(
        client: Arc<Client>,
        offer: Offer,
        claim: &ClaimResponse,
        until: Duration,
        run: u64,
        logs: PathBuf,
        interval: Duration,
    ) -> Self {
        let Specification { events, .. } = &claim.specification;
        let state = State {
            events: events.iter().map(|event| crate::events::pending(*event)).collect(),
            status: HostStatus::InProgress,
            // Higher than all of an earlier run, below 2^53 so that any JSON reader keeps it.
            sequence: run << 32,
            is_news: false,
            heard_at: Instant::now(),
            lease: Duration::from_millis(claim.lease_ms),
            follow: false,
            sent: BTreeMap::new(),
            gate: None,
        };
        let keys = Keys { token: claim.token.clone(), bundle_url: claim.bundle_url.clone() };
        Self {
            client,
            offer,
            logs,
            interval,
            keys: tokio::sync::Mutex::new(keys),
            state: Mutex::new(state),
            changed: Notify::new(),
            gate_ended: Notify::new(),
            permission: watch::Sender::new(Permission::of(claim, until)),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn bundle_url(&self) -> String {
        self.keys.lock().await.bundle_url.clone()
    }

    /// Tells home how the events stand, soon; the last report at once.
    pub(crate) fn tell(&self, events: &[EventReport], status: HostStatus) {
        let mut state = self.state();
        state.events = events.to_vec();
        state.status = status;
        state.is_news = true;
        drop(state);
        self.changed.notify_one();
    }

    /// What home was told of the command as a whole, or will be next.
    pub(crate) fn status(&self) -> HostStatus {
        self.state().status
    }

    /// Waits until an event may start; an error says why none may any more.
    pub(crate) async fn permit(&self) -> Result<(), String> {
        let mut permission = self.permission.subscribe();
        loop {
            let now = permission.borrow_and_update().now();
            if let Some(now) = now {
                return now;
            }
            if permission.changed().await.is_err() {
                return Err("the agent ends".to_owned());
            }
        }
    }

    /// Waits until a script may start: home is asked, however young its permission is; without an answer in time that
    /// decides. An error says why no script may start any more.
    pub(crate) async fn permit_script(&self) -> Result<(), String> {
        loop {
            self.permit().await?;
            if tokio::time::timeout(LEAVE_WITHIN, self.ask_leave()).await.is_err() {
                tracing::debug!("home does not say whether a script may start");
            }
            // The permission may have run out meanwhile.
            let now = self.permission.borrow().now();
            if let Some(now) = now {
                return now;
            }
        }
    }

    /// Asks home whether a script may start, until it has answered; a refusal withdraws the permission.
    async fn ask_leave(&self) {
        let question = ReportRequest {
            deployment_id: self.offer.deployment_id.clone(),
            ordinal: self.offer.ordinal,
            attempt: self.offer.attempt,
            sequence: ReportRequest::QUESTION,
            status: HostStatus::InProgress,
            events: Vec::new(),
            output: Vec::new(),
        };
        let mut back_off = BackOff::default();
        loop {
            let token = self.keys.lock().await.token.clone();
            match self.client.report(&token, &question).await {
                Ok(answer) if answer.proceed => return,
                Ok(answer) => return self.renew(Permission::withdrawn(answer.reason)),
                Err(CallError::Refused(Refusal { code: RefusalCode::Unauthorized, .. })) => {
                    if !self.replace_token(&token).await {
                        return;
                    }
                }
                Err(CallError::Refused(refusal)) => return self.withdraw(refusal.message),
                Err(error) => wait_after(&self.client, &error, &mut back_off).await,
            }
        }
    }

    /// Waits until the balancer is done with the host, or home wants nothing more; an error says why it is not. Who waits
    /// no longer than that calls [`Lease::forget_traffic`].
    pub(crate) async fn traffic(&self, event: Event) -> Result<(), Unmet> {
        self.state().gate = Some(Gate { event, again: Duration::ZERO, end: None });
        self.changed.notify_one();
        let mut permission = self.permission.subscribe();
        loop {
            let end = self.state().gate.as_ref().and_then(|gate| gate.end.clone());
            if let Some(end) = end {
                self.state().gate = None;
                return end.map_err(Unmet::Failed);
            }
            let withdrawn = |permission: &Permission| match permission {
                Permission::Until(_) => None,
                Permission::Withdrawn(reason) => Some(reason.clone()),
            };
            let reason = withdrawn(&permission.borrow_and_update());
            if let Some(reason) = reason {
                self.state().gate = None;
                return Err(Unmet::Withdrawn(reason));
            }
            tokio::select! {
                () = self.gate_ended.notified() => {}
                changed = permission.changed() => if changed.is_err() {
                    return Err(Unmet::Withdrawn("the agent ends".to_owned()));
                },
            }
        }
    }

    /// Asks for the balancer no more.
    pub(crate) fn forget_traffic(&self) {
        self.state().gate = None;
    }

    /// Reports until the last report was taken, or home wants none any more.
    pub(crate) async fn report(&self) {
        let mut back_off = BackOff::default();
        loop {
            self.due().await;
            let token = self.keys.lock().await.token.clone();
            match self.report_once(&token).await {
                Ok(true) => return,
                Ok(false) => back_off.reset(),
                Err(CallError::Refused(Refusal { code: RefusalCode::Unauthorized, .. })) => {
                    if !self.replace_token(&token).await {
                        return;
                    }
                }
                Err(CallError::Refused(refusal)) => {
                    self.withdraw(refusal.message);
                    return;
                }
                Err(error) => wait_after(&self.client, &error, &mut back_off).await,
            }
        }
    }

    /// Claims the command again, for a new token and a new URL; false, if it is not to be had any more.
    pub(crate) async fn claim_again(&self) -> bool {
        let mut keys = self.keys.lock().await;
        self.claim_into(&mut keys).await
    }

    /// The same for a token that is void, unless it has been replaced meanwhile.
    async fn replace_token(&self, void: &str) -> bool {
        let mut keys = self.keys.lock().await;
        keys.token != void || self.claim_into(&mut keys).await
    }

    async fn claim_into(&self, keys: &mut Keys) -> bool {
        match claim(&self.client, &self.offer).await {
            Ok((claim, until)) => {
                self.renew(Permission::of(&claim, until));
                *keys = Keys { token: claim.token, bundle_url: claim.bundle_url };
                true
            }
            Err(refusal) => {
                self.withdraw(refusal.message);
                false
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A withdrawal is for good.
    fn renew(&self, permission: Permission) {
        self.permission.send_if_modified(|current| {
            let is_open = matches!(current, Permission::Until(_));
            if is_open {
                *current = permission;
            }
            is_open
        });
    }

    fn withdraw(&self, reason: String) {
        self.renew(Permission::Withdrawn(reason));
    }

    /// Waits until there is a reason to report.
    async fn due(&self) {
        loop {
            let at = self.due_at();
            if at <= Instant::now() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn due_at(&self) -> Instant {
        let state = self.state();
        let heartbeat = state.heard_at + (state.lease / 3).max(Duration::from_millis(50));
        if let Some(gate) = state.gate.as_ref().filter(|gate| gate.end.is_none()) {
            return (state.heard_at + gate.again).min(heartbeat);
        }
        if state.is_news {
            let wait =
                if state.status == HostStatus::InProgress { self.interval } else { Duration::ZERO };
            return (state.heard_at + wait).min(heartbeat);
        }
        if !state.follow {
            return heartbeat;
        }
        let is_longer = |event: &EventReport| {
            let sent = state.sent.get(&event.event).copied().unwrap_or(0);
            self.log(event.event).metadata().is_ok_and(|meta| meta.len() > sent)
        };
        let next = if state.events.iter().any(is_longer) { state.heard_at } else { Instant::now() };
        (next + FOLLOW_INTERVAL).min(heartbeat)
    }

    /// One report; true, if it was the last.
    async fn report_once(&self, token: &str) -> Result<bool, CallError> {
        let (request, follow) = {
            let mut state = self.state();
            state.sequence += 1;
            state.is_news = false;
            let request = ReportRequest {
                deployment_id: self.offer.deployment_id.clone(),
                ordinal: self.offer.ordinal,
                attempt: self.offer.attempt,
                sequence: state.sequence,
                status: state.status,
                events: state.events.clone(),
                output: if state.follow { self.output(&state) } else { Vec::new() },
            };
            (request, state.follow)
        };
        let sent_at = awake();
        let answer = self.client.report(token, &request).await;
        let mut state = self.state();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                state.is_news = true;
                return Err(error);
            }
        };
        state.heard_at = Instant::now();
        state.lease = Duration::from_millis(answer.lease_ms);
        state.follow = answer.follow;
        for chunk in request.output.iter().filter(|_| follow) {
            let end = chunk.offset.saturating_add(u64::try_from(chunk.text.len()).unwrap_or(0));
            state.sent.insert(chunk.event, end);
        }
        if let (Some(gate), Some(told)) = (&mut state.gate, &answer.traffic)
            && gate.event == told.event
        {
            gate.again = Duration::from_millis(told.again_after_ms.clamp(10, 60_000));
            gate.end = match (&told.failed, told.done) {
                (Some(why), _) => Some(Err(why.clone())),
                (None, true) => Some(Ok(())),
                (None, false) => None,
            };
            self.gate_ended.notify_one();
        }
        drop(state);
        let until = sent_at.saturating_add(Duration::from_millis(answer.lease_ms));
        self.renew(match answer.proceed {
            true => Permission::Until(until),
            false => Permission::withdrawn(answer.reason),
        });
        Ok(request.status != HostStatus::InProgress)
    }

    /// What was printed since the last report, in the order of the events.
    fn output(&self, state: &State) -> Vec<OutputChunk> {
        let mut room = OUTPUT_BYTES;
        let mut chunks = Vec::new();
        for EventReport { event, .. } in &state.events {
            let offset = state.sent.get(event).copied().unwrap_or(0);
            // A log that cannot be read is not followed; its end is reported all the same.
            let text = read_from(&self.log(*event), offset, room).unwrap_or_default();
            if !text.is_empty() {
                room -= text.len();
                chunks.push(OutputChunk { event: *event, offset, text });
            }
        }
        chunks
    }

    fn log(&self, event: Event) -> PathBuf {
        log_path(&self.logs, event)
    }
}

/// Where the log of an event lies.
pub(crate) fn log_path(logs: &Path, event: Event) -> PathBuf {
    logs.join(format!("{event}.log"))
}

fn read_from(path: &Path, offset: u64, most: usize) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(u64::try_from(most).unwrap_or(0)).read_to_end(&mut bytes)?;
    // The file is valid UTF-8; only its end may lie in the middle of a character.
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.trim_end_matches('\u{fffd}').len();
    Ok(if bytes.len() == most { first_bytes(&text, whole).to_owned() } else { text.into_owned() })
}

/// The time since the machine was started, sleep included.
pub(crate) fn awake() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
