//! The answer to a report: whether the host may go on, and for how long without another one.

use wire::host::ReportResponse;

use super::{superseded, traffic};
use crate::rows::HostRow;
use crate::{Error, HostApi};

impl HostApi {
    /// Answers a report. What starts something is answered by what is stored now: a question for leave to run a script, and a
    /// look at traffic.
    pub(super) async fn answer(
        &self,
        host: &HostRow,
        is_question: bool,
    ) -> Result<ReportResponse, Error> {
        // A host that asks for a script does not wait for its balancer, whatever it has said last.
        let waits_for_traffic = !is_question && traffic::may_wait(host);
        let permission = match is_question || waits_for_traffic {
            true => self.permission(host).await?,
            false => self.permission_lately(host).await?,
        };
        let Some(permission) = permission else {
            return Err(superseded("the deployment was deleted"));
        };
        let now = self.base.now();
        let proceed = permission.may_proceed(now);
        let traffic = match waits_for_traffic {
            true => self.traffic_answer(&permission.gate, host).await,
            false => None,
        };
        let used_ms = host.heard_at.map_or(0, |heard_at| now.since_ms(heard_at));
        Ok(ReportResponse {
            proceed: proceed.is_ok(),
            reason: proceed.err().map(str::to_owned),
            lease_ms: permission.gate.lease_ms().saturating_sub(used_ms),
            follow: self.followed.has(&host.deployment_id, now),
            traffic,
        })
    }
}
