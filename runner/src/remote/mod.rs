//! Whoever ordered a command over the host protocol: home, or the cloud (`docs/semantics.md#hosts`).
//!
//! Before each script home is asked whether it may start, so that a stop is heard at once; the permission ([`lease`]) is
//! what carries a command on while home does not answer. The reports ([`reports`]) renew it.

mod claim;
mod download;
mod lease;
mod reports;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine::lifecycle::Event;
use wire::host::{Bundle, EventReport, HostStatus, Offer, Refusal, RefusalCode, ReportRequest};

use self::download::{DownloadError, TRIES, stream};
use self::lease::{Lease, Permission};
use self::reports::Reports;
use crate::client::{BackOff, CallError, Client};
use crate::clock::awake;
use crate::orders::{NoBundle, Orders, Start, Unmet};

pub(crate) use self::claim::{Claimed, claim};

/// How long home has to say whether a script may start, before the permission decides that there is.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// A command that was claimed.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Arc<Client>,
    offer: Offer,
    keys: tokio::sync::Mutex<Keys>,
    lease: Lease,
    reports: Reports,
}

/// What a claim gives, and the next one makes void.
#[derive(Debug)]
struct Keys {
    token: String,
    bundle_url: String,
}

/// Where and how the events of a command are followed for its reports.
#[derive(Debug)]
pub(crate) struct Following {
    /// How many claims of this command there were on this host, with this one.
    pub(crate) claims: u64,
    /// Where the logs of its events lie.
    pub(crate) logs: PathBuf,
    /// How long news may wait for more.
    pub(crate) interval: Duration,
}

impl Remote {
    /// Begins with the answer to a claim.
    pub(crate) fn new(
        client: Arc<Client>,
        offer: Offer,
        claimed: &Claimed,
        following: Following,
    ) -> Self {
        let claim = &claimed.claim;
        let Following { claims, logs, interval } = following;
        let keys = Keys { token: claim.token.clone(), bundle_url: claim.bundle_url.clone() };
        Self {
            client,
            offer,
            keys: tokio::sync::Mutex::new(keys),
            lease: Lease::new(claimed.permission()),
            reports: Reports::new(claim, claims, logs, interval),
        }
    }

    /// What home was told of the command as a whole, or will be next.
    pub(crate) fn status(&self) -> HostStatus {
        self.reports.status()
    }

    /// Reports until the last report was taken, or home wants none any more.
    pub(crate) async fn deliver(&self) {
        let mut back_off = BackOff::default();
        loop {
            self.reports.due().await;
            let token = self.token().await;
            match self.report_once(&token).await {
                Ok(true) => return,
                Ok(false) => back_off.reset(),
                Err(CallError::Refused(Refusal { code: RefusalCode::Unauthorized, .. })) => {
                    if !self.replace_token(&token).await {
                        return;
                    }
                }
                Err(CallError::Refused(refusal)) => {
                    self.lease.withdraw(refusal.message);
                    return;
                }
                Err(error) => self.client.wait_after(&error, &mut back_off).await,
            }
        }
    }

    /// One report; true, if it was the last.
    async fn report_once(&self, token: &str) -> Result<bool, CallError> {
        let request = self.reports.next(&self.offer);
        let sent_at = awake();
        let answer = self.client.report(token, &request).await;
        let answer = answer.inspect_err(|_| self.reports.not_taken())?;
        self.reports.taken(&request, &answer);
        let until = sent_at.saturating_add(Duration::from_millis(answer.lease_ms));
        self.lease.renew(Permission::of(answer.proceed, answer.reason, until));
        Ok(request.status != HostStatus::InProgress)
    }

    /// Waits until a script may start: home is asked, however young its permission is; without an answer in time that
    /// decides. An error says why no script may start any more.
    async fn permit_script(&self) -> Result<(), String> {
        loop {
            self.lease.permit().await?;
            if tokio::time::timeout(LEAVE_WITHIN, self.ask_leave()).await.is_err() {
                tracing::debug!("home does not say whether a script may start");
            }
            // The permission may have run out meanwhile.
            if let Some(now) = self.lease.now() {
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
            let token = self.token().await;
            match self.client.report(&token, &question).await {
                Ok(answer) if answer.proceed => return,
                Ok(answer) => return self.lease.renew(Permission::withdrawn(answer.reason)),
                Err(CallError::Refused(Refusal { code: RefusalCode::Unauthorized, .. })) => {
                    if !self.replace_token(&token).await {
                        return;
                    }
                }
                Err(CallError::Refused(refusal)) => return self.lease.withdraw(refusal.message),
                Err(error) => self.client.wait_after(&error, &mut back_off).await,
            }
        }
    }

    async fn token(&self) -> String {
        self.keys.lock().await.token.clone()
    }

    /// Claims the command again, for a new token and a new URL; false, if it is not to be had any more.
    async fn claim_again(&self) -> bool {
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
            Ok(claimed) => {
                self.lease.renew(claimed.permission());
                let claim = claimed.claim;
                *keys = Keys { token: claim.token, bundle_url: claim.bundle_url };
                true
            }
            Err(refusal) => {
                self.lease.withdraw(refusal.message);
                false
            }
        }
    }

    /// Fetches the bundle into a file and checks that it is the right one.
    async fn fetch(&self, bundle: &Bundle, file: &Path) -> Result<(), DownloadError> {
        let mut back_off = BackOff::default();
        let mut last = String::new();
        for _ in 0..TRIES {
            let url = self.keys.lock().await.bundle_url.clone();
            match self.client.fetch(&url).await {
                Ok(response) => match stream(response, file, bundle).await? {
                    Ok(()) => return Ok(()),
                    Err(error) => last = error,
                },
                // Its URL is short-lived.
                Err(CallError::Status(400..=499)) => {
                    "the bundle's URL is not valid any more".clone_into(&mut last);
                    self.claim_again().await;
                }
                Err(error) => last = error.to_string(),
            }
            let wait = back_off.next(Duration::from_millis(200), Duration::from_secs(5));
            tokio::time::sleep(wait).await;
        }
        Err(DownloadError::Fetch(last))
    }
}

impl Orders for Remote {
    async fn permit(&self, start: Start) -> Result<(), String> {
        match start {
            Start::Event => self.lease.permit().await,
            Start::Script => self.permit_script().await,
        }
    }

    /// Tells home how the events stand, soon; the last report at once.
    fn report(&self, events: &[EventReport], status: HostStatus) {
        self.reports.tell(events, status);
    }

    async fn wait_for_traffic(&self, event: Event) -> Result<(), Unmet> {
        tokio::select! {
            // What the balancer said counts, also where the same answer withdraws the permission.
            biased;
            end = self.reports.traffic(event) => end.map_err(Unmet::Failed),
            reason = self.lease.withdrawn() => Err(Unmet::Withdrawn(reason)),
        }
    }

    async fn bundle(&self, bundle: &Bundle, to: &Path) -> Result<(), NoBundle> {
        Ok(self.fetch(bundle, to).await?)
    }
}
