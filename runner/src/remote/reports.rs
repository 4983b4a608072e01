//! What home is told of a command, and when: how its events stand, what they print, and that the host waits for its
//! balancer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::lifecycle::Event;
use tokio::sync::Notify;
use tokio::time::Instant;
use wire::host::{
    ClaimResponse, EventReport, HostStatus, Offer, OutputChunk, ReportRequest, ReportResponse,
};

use crate::event_reports::all_pending;
use crate::output::{first_bytes, log_path};

/// How often output is sent that somebody follows.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);
/// How much output one report carries at most.
const OUTPUT_BYTES: usize = 256 << 10;

/// The reports of a command.
#[derive(Debug)]
pub(super) struct Reports {
    logs: PathBuf,
    interval: Duration,
    state: Mutex<State>,
    changed: Notify,
    gate_ended: Notify,
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

/// An event of the balancer that the host waits for.
#[derive(Debug)]
struct Gate {
    event: Event,
    /// How soon home is asked again.
    again: Duration,
    /// How it ended.
    end: Option<Result<(), String>>,
}

impl Reports {
    /// None has been made yet. `claims` counts the claims of the command on this host.
    pub(super) fn new(
        claim: &ClaimResponse,
        claims: u64,
        logs: PathBuf,
        interval: Duration,
    ) -> Self {
        let state = State {
            events: all_pending(&claim.specification.events),
            status: HostStatus::InProgress,
            // Higher than all of an earlier run, below 2^53 so that any JSON reader keeps it.
            sequence: claims << 32,
            is_news: false,
            heard_at: Instant::now(),
            lease: Duration::from_millis(claim.lease_ms),
            follow: false,
            sent: BTreeMap::new(),
            gate: None,
        };
        let (changed, gate_ended) = (Notify::new(), Notify::new());
        Self { logs, interval, state: Mutex::new(state), changed, gate_ended }
    }

    /// Tells home how the events stand, soon; the last report at once.
    pub(super) fn tell(&self, events: &[EventReport], status: HostStatus) {
        let mut state = self.state();
        state.events = events.to_vec();
        state.status = status;
        state.is_news = true;
        drop(state);
        self.changed.notify_one();
    }

    /// What home was told of the command as a whole, or will be next.
    pub(super) fn status(&self) -> HostStatus {
        self.state().status
    }

    /// Waits until the balancer is done with the host; an error says why it cannot be. Home is asked as long as this waits.
    pub(super) async fn traffic(&self, event: Event) -> Result<(), String> {
        self.state().gate = Some(Gate { event, again: Duration::ZERO, end: None });
        let _asked = Asked(self);
        self.changed.notify_one();
        loop {
            let end = self.state().gate.as_ref().and_then(|gate| gate.end.clone());
            if let Some(end) = end {
                return end;
            }
            self.gate_ended.notified().await;
        }
    }

    /// Waits until there is a reason to report.
    pub(super) async fn due(&self) {
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

    /// The next report of the command that was offered so.
    pub(super) fn next(&self, offer: &Offer) -> ReportRequest {
        let mut state = self.state();
        state.sequence += 1;
        state.is_news = false;
        ReportRequest {
            deployment_id: offer.deployment_id.clone(),
            ordinal: offer.ordinal,
            attempt: offer.attempt,
            sequence: state.sequence,
            status: state.status,
            events: state.events.clone(),
            output: if state.follow { self.output(&state) } else { Vec::new() },
        }
    }

    /// The last report has come to nothing.
    pub(super) fn not_taken(&self) {
        self.state().is_news = true;
    }

    /// Home has taken a report, and says so.
    pub(super) fn taken(&self, request: &ReportRequest, answer: &ReportResponse) {
        let mut state = self.state();
        state.heard_at = Instant::now();
        state.lease = Duration::from_millis(answer.lease_ms);
        state.follow = answer.follow;
        for chunk in &request.output {
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits for the balancer, as long as this is there.
struct Asked<'a>(&'a Reports);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.state().gate = None;
    }
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
