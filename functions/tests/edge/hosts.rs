//! The hosts: they claim what they were sent a command for, wait for their balancers, and report.

use control::Error;
use wire::cutover::GetDeploymentLog;
use wire::host::{
    BatchClaimRequest, BatchClaimResponse, EventReport, EventStatus, HostStatus, RefusalCode,
    ReportRequest, ReportResponse,
};

use crate::world::{Due, HOSTS, Plot, World};

#[derive(Debug, Clone)]
pub(crate) enum HostStep {
    Claim { batch: String, secret: String, tries: u32 },
    Report { run: Box<Run>, tries: u32 },
}

/// A command that a host carries out.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) batch: String,
    secret: String,
    claim: BatchClaimResponse,
    pub(crate) phase: Phase,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits until it has no traffic.
    Block,
    /// The revision is there, and it waits until it has traffic.
    Allow,
    /// It is done.
    Done,
    /// It failed, or was not let go on.
    Failed,
}

impl Run {
    fn is_of(&self, version: &str) -> bool {
        self.claim.claim.specification.bundle.key.contains(version)
    }

    /// What it reports. Of the events that take no time, all up to the one that it waits in have ended.
    fn request(&self, sequence: u64) -> ReportRequest {
        let BatchClaimResponse { offer, claim, .. } = &self.claim;
        let (status, waits_in) = match self.phase {
            Phase::Block => (HostStatus::InProgress, Some("BlockTraffic")),
            Phase::Allow => (HostStatus::InProgress, Some("AllowTraffic")),
            Phase::Done => (HostStatus::Succeeded, None),
            Phase::Failed => (HostStatus::Failed, None),
        };
        let mut is_over = true;
        let events = claim.specification.events.iter().map(|event| {
            let waits = waits_in == Some(event.name());
            is_over &= !waits;
            let status = match (waits, is_over, status) {
                (true, ..) => EventStatus::InProgress,
                (false, false, _) => EventStatus::Pending,
                (false, true, HostStatus::Failed) => EventStatus::Failed,
                (false, true, HostStatus::InProgress | HostStatus::Succeeded) => {
                    EventStatus::Succeeded
                }
            };
            let ended_at = (status != EventStatus::InProgress).then_some(2);
            EventReport { event: *event, status, started_at: Some(1), ended_at, diagnostics: None }
        });
        ReportRequest {
            deployment_id: offer.deployment_id.clone(),
            ordinal: offer.ordinal,
            attempt: offer.attempt,
            sequence,
            status,
            events: events.collect(),
            output: Vec::new(),
        }
    }
}

impl World {
    pub(crate) async fn host(&mut self, name: String, step: HostStep) {
        match step {
            HostStep::Claim { batch, secret, tries } => {
                if self.busy.contains(&name) {
                    // A second copy waits for the first.
                    let step = HostStep::Claim { batch, secret, tries };
                    return self.push(1_000, Due::Host { name, step });
                }
                Box::pin(self.claim(name, batch, secret, tries)).await;
            }
            HostStep::Report { run, tries } => Box::pin(self.report(name, run, tries)).await,
        }
    }

    async fn claim(&mut self, name: String, batch: String, secret: String, tries: u32) {
        let request = BatchClaimRequest {
            host: name.clone(),
            batch: batch.parse().unwrap(),
            kept_groups: Vec::new(),
        };
        let answer = self.hosts.claim_batch(&secret, &request).await;
        match answer {
            Ok(claim) => {
                if self.follows.is_some() {
                    let log = GetDeploymentLog {
                        deployment_id: Some(claim.offer.deployment_id.to_string()),
                        follow: Some(true),
                        ..GetDeploymentLog::default()
                    };
                    Box::pin(self.api.get_deployment_log(&log)).await.unwrap();
                }
                self.busy.insert(name.clone());
                let mut run = Box::new(Run { batch, secret, claim, phase: Phase::Done });
                let fails = run.is_of("v2") && name == HOSTS[1];
                run.phase = match self.plot {
                    Plot::Alarming => Phase::Block,
                    Plot::Failing if fails => Phase::Failed,
                    Plot::Failing => Phase::Done,
                };
                self.push(500, Due::Host { name, step: HostStep::Report { run, tries: 0 } });
            }
            Err(Error::Host(refusal)) => {
                self.log.push(format!("{name} is refused: {}", refusal.message));
                self.busy.remove(&name);
            }
            Err(error) => {
                assert!(tries < 60, "{name} cannot claim: {error}");
                let step = HostStep::Claim { batch, secret, tries: tries + 1 };
                self.push(1_000, Due::Host { name, step });
            }
        }
    }

    async fn report(&mut self, name: String, run: Box<Run>, tries: u32) {
        self.reports += 1;
        match self.hosts.report(&run.claim.claim.token, run.request(self.reports)).await {
            Ok(answer) => {
                self.follows = self.follows.map(|follows| follows + u64::from(answer.follow));
                self.go_on(name, run, &answer);
            }
            Err(Error::Host(refusal)) if refusal.code == RefusalCode::Unauthorized => {
                // Another copy has claimed since: claim again.
                self.busy.remove(&name);
                let (batch, secret) = (run.batch, run.secret);
                self.push(100, Due::Host { name, step: HostStep::Claim { batch, secret, tries } });
            }
            Err(Error::Host(refusal)) => {
                self.log.push(format!("{name} is refused: {}", refusal.message));
                self.busy.remove(&name);
            }
            Err(error) => {
                assert!(tries < 60, "{name} cannot report: {error}");
                let step = HostStep::Report { run, tries: tries + 1 };
                self.push(1_000, Due::Host { name, step });
            }
        }
    }

    /// What a host does with the answer to its report.
    fn go_on(&mut self, name: String, mut run: Box<Run>, answer: &ReportResponse) {
        let version = if run.is_of("v1") { "v1" } else { "v2" };
        if matches!(run.phase, Phase::Done | Phase::Failed) {
            self.installed.insert(name.clone(), version.to_owned());
            self.busy.remove(&name);
            if self.plot == Plot::Alarming && run.phase == Phase::Done {
                let fires = version == "v2";
                self.services.state().alarm_fires = fires;
                if fires {
                    // Events come twice.
                    self.push(50, Due::Alarm);
                    self.push(60, Due::Alarm);
                }
            }
            return;
        }
        let traffic = answer.traffic.as_ref();
        let again_ms = traffic.map_or(1_000, |answer| answer.again_after_ms);
        let is_done = traffic.is_some_and(|answer| answer.done);
        if let Some(why) = traffic.and_then(|answer| answer.failed.as_ref()) {
            self.log.push(format!("{name} fails: {why}"));
            run.phase = Phase::Failed;
        } else if !answer.proceed {
            self.log.push(format!("{name} does not go on: {:?}", answer.reason));
            run.phase = Phase::Failed;
        } else if is_done {
            run.phase = if run.phase == Phase::Block { Phase::Allow } else { Phase::Done };
        }
        let ms = if is_done { 100 } else { again_ms };
        self.push(ms, Due::Host { name, step: HostStep::Report { run, tries: 0 } });
    }
}
