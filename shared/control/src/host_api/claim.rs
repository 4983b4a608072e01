//! Claims: a host is given its command, and the token to report with.

use engine::DeploymentId;
use wire::host::{BatchClaimResponse, Bundle, ClaimResponse, Offer, Specification};

use super::{check_reach, superseded};
use crate::rows::{self, HostRow, SpecificationRow};
use crate::table::TableError;
use crate::{Error, HostApi, hash_of};

impl HostApi {
    pub(super) async fn grant(
        &self,
        name: &str,
        deployment_id: &DeploymentId,
        ordinal: u32,
    ) -> Result<BatchClaimResponse, Error> {
        let place = self.base.shards(deployment_id).await?.key_of(ordinal);
        loop {
            let loaded = rows::load::<HostRow>(&*self.base.table, &place).await?;
            let Some(mut host) = loaded else {
                return Err(superseded("there is no such command"));
            };
            self.base.keep_shards(&host.row);
            check_claim(&host.row, name)?;
            let (permission, specification) =
                futures::try_join!(self.permission(&host.row), self.specification(&host.row))?;
            let Some(permission) = permission else {
                return Err(superseded("there is no such command"));
            };
            let halted = permission.may_proceed(self.base.now()).err();
            if let Some(why) = halted
                && (host.row.heard_at.is_none() || !permission.is_waited_for())
            {
                return Err(superseded(why));
            }
            let Some(specification) = specification else {
                return Err(superseded("the deployment has no bundle yet"));
            };
            let token = self.base.new_token();
            self.note_claim(&mut host.row, &token, permission.attempt);
            if host.row.generation.is_some() {
                host.row.installs = Some(specification.pin.sha256.clone());
            }
            match self.base.table.write(&[host.replace()?]).await {
                Ok(()) => {
                    let (deployment_id, attempt) = (deployment_id.clone(), host.row.attempt);
                    let offer = Offer { deployment_id, ordinal, attempt };
                    let lease_ms = permission.gate.lease_ms();
                    let mut claim =
                        self.command(specification, host.row, (token, lease_ms)).await?;
                    if let Some(why) = halted {
                        // Nor does a runner start anything that only knows leases.
                        (claim.proceed, claim.lease_ms) = (false, 0);
                        claim.reason = Some(why.to_owned());
                    }
                    return Ok(BatchClaimResponse { offer, claim, deleted_groups: Vec::new() });
                }
                Err(TableError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Notes on a host's item that it claims its command for the time `attempt`.
    fn note_claim(&self, host: &mut HostRow, token: &str, attempt: u8) {
        host.token_hash = Some(hash_of(token));
        if host.down_until.take().is_some() {
            // It is up again, and nothing of that is true any more.
            host.hint = None;
        }
        host.attempt = attempt;
        host.heard_at = Some(self.base.now().max(host.heard_at.unwrap_or_default()));
    }

    async fn command(
        &self,
        specification: SpecificationRow,
        host: HostRow,
        (token, lease_ms): (String, u64),
    ) -> Result<ClaimResponse, Error> {
        let SpecificationRow { order, pin, .. } = specification;
        let bundle_url = self.bundles.url(&pin).await?;
        let (events, held_before) = (order.events().to_vec(), order.held_before());
        let specification = Specification {
            deployment_id: order.id,
            application_name: order.application,
            deployment_group_name: order.group,
            deployment_group_id: order.group_id,
            generation: order.generation,
            creator: order.creator.name().to_owned(),
            bundle: Bundle {
                bucket: order.revision.bucket,
                key: order.revision.key,
                // Of the object that was read; who pinned it before that was noted knew the revision's alone.
                version: pin.version.or(order.revision.version),
                e_tag: pin.e_tag.or(order.revision.e_tag),
                sha256: pin.sha256,
                size: pin.size,
            },
            file_exists_behavior: order.file_exists_behavior,
            ignore_application_stop_failures: order.ignore_application_stop_failures,
            events,
            held_before,
            rerun_interrupted: order.rerun_interrupted,
        };
        let reported = host.events;
        let (proceed, reason) = (true, None);
        Ok(ClaimResponse { token, specification, bundle_url, lease_ms, reported, proceed, reason })
    }
}

/// Whether a host may claim its command, as far as its own item says.
fn check_claim(host: &HostRow, name: &str) -> Result<(), Error> {
    if host.name != name {
        return Err(superseded("the command is for another host"));
    }
    check_reach(host)?;
    if host.has_ended() {
        return Err(superseded("the command is finished"));
    }
    if host.leaving && host.heard_at.is_none() {
        return Err(superseded("the host is about to vanish; nothing is started on it"));
    }
    Ok(())
}
