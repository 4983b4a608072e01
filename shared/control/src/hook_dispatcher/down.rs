//! Hosts that ask for work by themselves and have not for too long: they are down, as far as anybody knows. Their command
//! is offered all the same, and they have a moment to claim it (`docs/semantics.md#hosts`).

use engine::deployment::{Deployment, Fact};
use engine::{DeploymentId, Timestamp};
use tracing::{info, warn};

use crate::host_api::SEEN_EVERY_MS;
use crate::rows::{self, HostRow, OnPremises, Stored};
use crate::table::TableError;
use crate::{Error, HookDispatcher};

/// How long a host that is down has to claim its command, in milliseconds, where polls are held until there is something.
const CLAIM_MS: u64 = 5_000;

/// How long a host was silent, and since when that is counted, in words.
struct Silence {
    ms: u64,
    since: &'static str,
}

/// What a host's item tells of one that is down.
pub(crate) fn told_by(host: &HostRow) -> Option<Fact> {
    let until = host.is_down_until()?;
    Some(Fact::HostsDown { hosts: vec![host.ordinal], until })
}

impl HookDispatcher {
    /// Finds out which of the hosts that were offered a command are down, and notes it on their items. What goes wrong is
    /// logged: such a host is waited for as any other.
    pub(super) async fn find_down(
        &self,
        deployment: &Deployment,
        hosts: Vec<Stored<HostRow>>,
    ) -> Vec<Fact> {
        self.try_find_down(deployment, hosts).await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            warn!(deployment = %deployment.id(), error, "which hosts are down cannot be found out");
            Vec::new()
        })
    }

    async fn try_find_down(
        &self,
        deployment: &Deployment,
        hosts: Vec<Stored<HostRow>>,
    ) -> Result<Vec<Fact>, Error> {
        let keys: Vec<_> = hosts.iter().map(|host| OnPremises::key_of(&host.row.name)).collect();
        let known = rows::load_many::<OnPremises>(&*self.base.table, &keys).await?;
        let told_ms = self.dispatcher.again_after_ms().unwrap_or_default();
        let longest_ms = deployment.order().silence_ms.max(2 * told_ms);
        let claim_ms = CLAIM_MS.max(told_ms);
        let mut down = Vec::new();
        for host in hosts {
            let Some(known) = known.iter().find(|known| known.row.name == host.row.name) else {
                continue;
            };
            let silence = self.silence_of(&known.row);
            if silence.ms < longest_ms {
                continue;
            }
            let hint = format!(
                "The instance is down: {} {} ago. It did not take the deployment within {} s.",
                silence.since,
                in_words(silence.ms),
                claim_ms / 1_000
            );
            let until = self.base.now().plus_ms(claim_ms);
            down.extend(self.note_down(deployment.id(), host, hint, until).await?);
        }
        Ok(down)
    }

    /// How long a host has not asked for work while somebody listened.
    fn silence_of(&self, host: &OnPremises) -> Silence {
        const SEEN: &str = "last seen";
        const REGISTERED: &str = "not seen since it was registered";
        let now = self.base.now();
        let registered_ms = now.since_ms(host.registered_at);
        if let Some(unheard) = self.dispatcher.unheard(&host.name) {
            // When the clock was set back since, nobody knows how long ago it was registered.
            let is_known = host.registered_at <= now;
            return match unheard.was_heard {
                true => Silence { ms: unheard.ms, since: SEEN },
                false if is_known && registered_ms < unheard.ms => {
                    Silence { ms: registered_ms, since: REGISTERED }
                }
                false => Silence { ms: unheard.ms, since: "not seen since the server started" },
            };
        }
        // What is noted may be so much older than what happened.
        match host.seen_at.filter(|at| *at >= host.registered_at) {
            Some(at) => Silence {
                ms: self.base.now().since_ms(at).saturating_sub(SEEN_EVERY_MS),
                since: SEEN,
            },
            None => Silence { ms: registered_ms, since: REGISTERED },
        }
    }

    /// Notes that a host is down, unless it claims its command just now.
    async fn note_down(
        &self,
        id: &DeploymentId,
        mut host: Stored<HostRow>,
        hint: String,
        until: Timestamp,
    ) -> Result<Option<Fact>, Error> {
        loop {
            let row = &mut host.row;
            if row.heard_at.is_some() || row.out_of_reach.is_some() || row.gone || row.leaving {
                return Ok(None);
            }
            if row.down_until.is_some() {
                return Ok(told_by(row));
            }
            row.down_until = Some(until);
            row.hint = Some(hint.clone());
            match self.base.table.write(&[host.replace()?]).await {
                Ok(()) => {
                    info!(deployment = %id, host = host.row.name, hint, "down");
                    return Ok(told_by(&host.row));
                }
                Err(TableError::Conflict(key)) => {
                    match rows::load(&*self.base.table, &key).await? {
                        Some(newer) => host = newer,
                        None => return Ok(None),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A time as people say it: the largest unit of which there is one.
pub(super) fn in_words(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (number, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..86_400 => (seconds / 3_600, "h"),
        86_400.. => (seconds / 86_400, if seconds < 2 * 86_400 { "day" } else { "days" }),
    };
    format!("{number} {unit}")
}
