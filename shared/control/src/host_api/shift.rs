//! Blue/green: hosts wait until their traffic moves, and it moves all together (`docs/semantics.md#blue-green`).
//!
//! As with hosts that take turns, each report of a host that waits is one look at its balancer.

use std::sync::Arc;

use engine::deployment::{Fact, Gate, Order, Stage};
use engine::lifecycle::Event;
use tracing::{info, warn};

use crate::carriers::{Carrier, sides_of};
use crate::host_api::traffic::{TrafficCheck, event_of, is_held};
use crate::ports::{BalancerError, Balancers, Standing};
use crate::rows::{self, HostRow, Row as _};
use crate::{Error, HostApi};

/// How many looks at a balancer a host that waits for others leaves out.
const CHECKS_APART: u64 = 5;

impl HostApi {
    /// What a host of a shift waits for, and when it is looked at again; none if it waits for nothing.
    pub(super) fn shift_wait(
        &self,
        gate: &Gate,
        stage: Stage,
        host: &HostRow,
    ) -> Option<(Event, u64)> {
        let event = event_of(host, is_held)?;
        let apart = self.base.settings.traffic_check_ms.saturating_mul(CHECKS_APART);
        // Who waits for a person may wait for days.
        let for_person = apart.saturating_mul(CHECKS_APART).min(gate.lease_ms() / 3);
        let again_ms = match host.waits_in == Some(event) {
            _ if stage == Stage::Ready => for_person.max(apart),
            true => apart,
            false => self.check_again_ms(host),
        };
        Some((event, again_ms))
    }

    /// Looks at what a host of a shift waits for. What was learnt is told to the deployment.
    pub(super) async fn check_shift(
        &self,
        balancers: &dyn Balancers,
        gate: &Gate,
        order: &Order,
        host: &HostRow,
        event: Event,
    ) -> Result<TrafficCheck, BalancerError> {
        let Some(carrier) = self.carrier_of(order) else { return Ok(TrafficCheck::Waits) };
        let is_ready = match sides_of(carrier.groups(), gate.new_side()) {
            // Its target group has the traffic: it comes into it with the others, when the traffic moves.
            _ if carrier.enters_with_traffic() => true,
            Some((_, new)) => match self.come_in(balancers, new, host).await? {
                Ok(is_in) => is_in,
                Err(refused) => return Ok(refused),
            },
            None => false,
        };
        if !is_ready {
            return Ok(TrafficCheck::Waits);
        }
        if host.waits_in != Some(event) {
            self.note_waiting(host, event).await;
        }
        let goes_on_at = if event == Event::AllowTraffic { Stage::After } else { Stage::Before };
        let goes_on = gate.stage().is_some_and(|stage| stage >= goes_on_at);
        Ok(if goes_on { TrafficCheck::Passed } else { TrafficCheck::Waits })
    }

    /// What carries the traffic of a deployment. What cannot be read is looked at again.
    fn carrier_of(&self, order: &Order) -> Option<Arc<dyn Carrier>> {
        match self.carriers.read(&order.shift.as_ref()?.carrier) {
            Ok(carrier) => Some(carrier),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(deployment = %order.id, error, "its hosts wait for their traffic");
                None
            }
        }
    }

    /// Lets a host into the target group of the new side, which has no traffic yet, and tells whether it is ready there.
    async fn come_in(
        &self,
        balancers: &dyn Balancers,
        new: &str,
        row: &HostRow,
    ) -> Result<Result<bool, TrafficCheck>, BalancerError> {
        let host = row.name.as_str();
        let standing = balancers.standing(new, &[host.to_owned()]).await?.remove(host);
        match standing.unwrap_or(Standing::Out) {
            Standing::Out | Standing::Draining => {
                if let Some(refused) = self.refuses_traffic(row).await {
                    return Ok(Err(refused));
                }
                balancers.admit(new, host, &row.deployment_id).await?;
                info!(host, group = new, "is ready for traffic of the new side");
                Ok(Ok(false))
            }
            Standing::Starting(_) => Ok(Ok(false)),
            Standing::In => Ok(Ok(true)),
        }
    }

    /// Notes on the host's item that it waits, and tells the deployment. What fails is said again by the next report.
    async fn note_waiting(&self, host: &HostRow, event: Event) {
        let key = host.key();
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
                self.base.waker.wake(&host.deployment_id, vec![Fact::HostsSeen(vec![seen])]);
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
