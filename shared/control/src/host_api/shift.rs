//! Blue/green: hosts wait until their traffic moves, and it moves all together (`docs/semantics.md#blue-green`).
//!
//! As with hosts that take turns, each report of a host that waits is one look at its balancer.

use std::sync::Arc;

use engine::deployment::{Deployment, Fact, Stage};
use engine::lifecycle::Event;
use tracing::{info, warn};
use wire::host::EventStatus;

use crate::carriers::{Carrier, sides_of};
use crate::host_api::traffic::Look;
use crate::ports::{BalancerError, Standing};
use crate::rows::{self, HostRow};
use crate::{Error, HostApi};

/// How many looks at a balancer a host that waits for others leaves out.
const LOOKS_APART: u64 = 5;

impl HostApi {
    /// Looks at what a host of a shift waits for; none if it waits for nothing. What was learnt is told to the deployment.
    pub(crate) async fn shift_look(
        &self,
        deployment: &Deployment,
        host: &HostRow,
    ) -> Option<(Event, u64, Result<Look, BalancerError>)> {
        let is_waited_in =
            |event: Event| matches!(event, Event::BeforeAllowTraffic | Event::AllowTraffic);
        let waiting = host.events.iter().find(|report| {
            is_waited_in(report.event) && report.status == EventStatus::InProgress
        })?;
        let event = waiting.event;
        let apart = self.base.settings.traffic_look_ms.saturating_mul(LOOKS_APART);
        // Who waits for a person may wait for days.
        let for_person = apart.saturating_mul(LOOKS_APART).min(deployment.lease_ms() / 3);
        let again_ms = match deployment.stage() {
            Some(Stage::Ready) => for_person.max(apart),
            _ if host.waits_in == Some(event) => apart,
            _ => self.look_again_ms(host),
        };
        Some((event, again_ms, self.look_at_shift(deployment, host, event).await))
    }

    async fn look_at_shift(
        &self,
        deployment: &Deployment,
        host: &HostRow,
        event: Event,
    ) -> Result<Look, BalancerError> {
        let Some(carrier) = self.carrier_of(deployment) else { return Ok(Look::Waits) };
        let is_ready = match sides_of(carrier.groups(), deployment.new_side()) {
            // Its target group has the traffic: it comes into it with the others, when the traffic moves.
            _ if carrier.enters_with_traffic() => true,
            Some((_, new)) => match self.come_in(deployment, new, &host.name).await? {
                Ok(is_in) => is_in,
                Err(look) => return Ok(look),
            },
            None => false,
        };
        if !is_ready {
            return Ok(Look::Waits);
        }
        if host.waits_in != Some(event) {
            self.note_waiting(host, event).await;
        }
        let goes_on_at = if event == Event::AllowTraffic { Stage::After } else { Stage::Before };
        let goes_on = deployment.stage().is_some_and(|stage| stage >= goes_on_at);
        Ok(if goes_on { Look::Passed } else { Look::Waits })
    }

    /// What carries the traffic of a deployment. What cannot be read is looked at again.
    fn carrier_of(&self, deployment: &Deployment) -> Option<Arc<dyn Carrier>> {
        self.carriers.of(deployment).unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            warn!(deployment = %deployment.id(), error, "its hosts wait for their traffic");
            None
        })
    }

    /// Lets a host into the target group of the new side, which has no traffic yet, and tells whether it is ready there.
    async fn come_in(
        &self,
        deployment: &Deployment,
        new: &str,
        host: &str,
    ) -> Result<Result<bool, Look>, BalancerError> {
        let standing = self.balancers.standing(new, &[host.to_owned()]).await?.remove(host);
        match standing.unwrap_or(Standing::Out) {
            Standing::Out | Standing::Draining => {
                if let Some(look) = self.refuses_traffic(deployment.id()).await {
                    return Ok(Err(look));
                }
                self.balancers.admit(new, host, deployment.id()).await?;
                info!(host, group = new, "is ready for traffic of the new side");
                Ok(Ok(false))
            }
            Standing::Starting(_) => Ok(Ok(false)),
            Standing::In => Ok(Ok(true)),
        }
    }

    /// Notes on the host's item that it waits, and tells the deployment. What fails is said again by the next report.
    async fn note_waiting(&self, host: &HostRow, event: Event) {
        let key = HostRow::key_of(&host.deployment_id, host.ordinal);
        let noted = async {
            let Some(mut stored) = rows::load::<HostRow>(&*self.base.table, &key).await? else {
                return Ok(None);
            };
            if stored.row.has_ended() || stored.row.out_of_reach.is_some() {
                return Ok(None);
            }
            stored.row.waits_in = Some(event);
            stored.row.stirs = true;
            self.base.table.write(&[stored.replace()?]).await?;
            Ok::<_, Error>(Some(stored.row.seen()))
        };
        match noted.await {
            Ok(Some(seen)) => {
                self.base.bell.ring(&host.deployment_id, vec![Fact::HostsSeen(vec![seen])]);
            }
            Ok(None) => {}
            Err(error) => {
                warn!(
                    host = host.name,
                    error = &error as &dyn std::error::Error,
                    "that it waits is noted later"
                );
            }
        }
    }
}
