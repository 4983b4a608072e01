//! Pushing commands to hosts: who can be reached, one secret for a batch, and the culprit among fifty.

use std::collections::BTreeSet;

use engine::deployment::Deployment;
use tracing::{info, warn};
use wire::host::BatchKey;

use super::down::in_words;
use super::here::Here;
use crate::ports::{CloudError, Command, Instance, Reach, SendError};
use crate::rows::{self, BatchHost, BatchRow, CommandRow, HostRow, OutOfReach, Row as _, Stored};
use crate::table::TableError;
use crate::{Error, HookDispatcher, hash_of};

/// What a command may take beside the time-outs of its hooks, in seconds: for fetching the runner and the bundle,
/// unpacking and installing.
const MARGIN_S: u32 = 900;

/// What waiting for balancers may take, in seconds: an hour each for losing traffic and for getting it.
const TRAFFIC_S: u32 = 2 * 3_600;

/// The time-outs of the hooks of a bundle of which they are not known: as long as a deployment may take.
const HOOKS_S: u32 = 8 * 3_600;

/// What Systems Manager calls commands that ended badly, without spaces.
const ENDED_BADLY: [&str; 8] = [
    "Failed",
    "TimedOut",
    "DeliveryTimedOut",
    "ExecutionTimedOut",
    "Cancelled",
    "Undeliverable",
    "Terminated",
    "InvalidPlatform",
];

/// How long a command may be on its way, in milliseconds, before it begins.
const DELIVERY_MS: u64 = 120_000;

/// Most secrets of one batch. A command that may have been sent although it was refused is among the last ones.
const SECRETS_MAX: usize = 20;

/// The longest that Run Command lets a command take: 48 hours.
const TIMEOUT_MAX_S: u32 = 172_800;

impl HookDispatcher {
    /// Takes note of what is said of a command on an instance: for people, as a reason, should the host not be heard of.
    /// It decides nothing.
    ///
    /// # Errors
    /// Those of the table and of the service; being told again does no harm.
    pub async fn hear_of_command(
        &self,
        command: &str,
        instance: &str,
        status: &str,
    ) -> Result<(), Error> {
        if !ENDED_BADLY.iter().any(|bad| status.replace(' ', "").eq_ignore_ascii_case(bad)) {
            return Ok(());
        }
        let key = CommandRow::key_of(command);
        let Some(sent) = rows::load::<CommandRow>(&*self.base.table, &key).await? else {
            return Ok(());
        };
        let key = BatchRow::key_of(&sent.row.batch);
        let batch = rows::load::<BatchRow>(&*self.base.table, &key).await?;
        let hosts = batch.map(|batch| batch.row.hosts).unwrap_or_default();
        let Some(host) = hosts.iter().find(|host| host.name == instance) else { return Ok(()) };
        let here = self.at(sent.row.place.as_ref()).await?;
        let said = here.push.outcome(command, instance).await?;
        let said = said
            .unwrap_or_else(|| format!("Systems Manager says of its command {command}: {status}."));
        let places = self.base.shards(&sent.row.batch.deployment_id).await?;
        let key = places.key_of(host.ordinal);
        while let Some(mut host) = rows::load::<HostRow>(&*self.base.table, &key).await? {
            if host.row.has_ended() || host.row.out_of_reach.is_some() || host.row.gone {
                break;
            }
            info!(deployment = %host.row.deployment_id, host = instance, said, "a command ended badly");
            host.row.hint = Some(said.clone());
            match self.base.table.write(&[host.replace()?]).await {
                Err(TableError::Conflict(_)) => {}
                written => return written.map_err(Into::into),
            }
        }
        Ok(())
    }
}

impl Here {
    /// Sends the hosts of a batch their command, and returns the ids of the commands that this took. A host that cannot be
    /// sent to fails alone, with the reason.
    pub(super) async fn push(
        &self,
        deployment: &Deployment,
        batch: &mut Stored<BatchRow>,
        hosts: Vec<Stored<HostRow>>,
    ) -> Result<Vec<String>, Error> {
        let hosts = self.fit(hosts).await?;
        if hosts.is_empty() {
            return Ok(Vec::new());
        }
        let secret = self.base.new_token();
        let sent_to = |host: &Stored<HostRow>| BatchHost {
            ordinal: host.row.ordinal,
            name: host.row.name.clone(),
        };
        batch.row.hosts = hosts.iter().map(sent_to).collect();
        // What was refused for long was sent with many.
        let spare = (batch.row.secrets.len() + 1).saturating_sub(SECRETS_MAX);
        batch.row.secrets.drain(..spare);
        batch.row.secrets.push(hash_of(&secret));
        let lasts_ms = u64::from(timeout_s(deployment)) * 1_000 + DELIVERY_MS;
        batch.row.until = Some(self.base.now().plus_ms(lasts_ms));
        batch.row.refused = None;
        // The secret is known before the first host can claim with it.
        self.base.table.write(&[batch.write()?]).await?;
        batch.version += 1;
        self.send(deployment, &batch.row.batch, &secret, hosts).await
    }

    /// The hosts that a command can be sent to. The others are shut out, each with its reason.
    async fn fit(&self, hosts: Vec<Stored<HostRow>>) -> Result<Vec<Stored<HostRow>>, Error> {
        let waits = |host: &HostRow| {
            host.heard_at.is_none() && host.out_of_reach.is_none() && !host.gone && !host.leaving
        };
        let hosts: Vec<_> = hosts.into_iter().filter(|host| waits(&host.row)).collect();
        if hosts.is_empty() {
            return Ok(hosts);
        }
        let names: Vec<String> = hosts.iter().map(|host| host.row.name.clone()).collect();
        let reach = self.push.reach(&names).await?;
        let mut fit = Vec::new();
        for host in hosts {
            let reason = match (&host.row.unfit, reach.get(&host.row.name)) {
                (Some(unfit), _) => unfit.clone(),
                (None, Some(reach)) => {
                    fit.push(self.note_reach(host, *reach).await?);
                    continue;
                }
                (None, None) => format!(
                    "Systems Manager does not reach the instance `{}`. Check that it runs, that its SSM Agent is online (`aws ssm describe-instance-information`), and that its instance profile allows AmazonSSMManagedInstanceCore.",
                    host.row.name
                ),
            };
            self.shut_out(host, reason).await?;
        }
        Ok(fit)
    }

    /// Notes that the connection to a host is lost, if it is: for people, should the host not be heard of. It may take its
    /// command all the same.
    async fn note_reach(
        &self,
        mut host: Stored<HostRow>,
        reach: Reach,
    ) -> Result<Stored<HostRow>, Error> {
        let Reach::Lost { since } = reach else { return Ok(host) };
        let since =
            since.map(|since| format!(", last seen {}", in_words(self.base.now().since_ms(since))));
        host.row.hint = Some(format!(
            "Systems Manager had lost its connection to the instance when the command was sent (ConnectionLost{}).",
            since.map(|since| format!("{since} ago")).unwrap_or_default()
        ));
        match self.base.table.write(&[host.replace()?]).await {
            Ok(()) => host.version += 1,
            // It is heard of just now.
            Err(TableError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(host)
    }

    /// Sends a command to hosts. Where one of them is refused, which one is found out by halves, and it is shut out.
    async fn send(
        &self,
        deployment: &Deployment,
        batch: &BatchKey,
        secret: &str,
        hosts: Vec<Stored<HostRow>>,
    ) -> Result<Vec<String>, Error> {
        let timeout_s = timeout_s(deployment);
        let mut commands = Vec::new();
        let mut open = vec![hosts];
        while let Some(mut hosts) = open.pop() {
            let command = Command {
                instances: hosts.iter().map(|host| host.row.name.clone()).collect(),
                batch: batch.clone(),
                secret: secret.to_owned(),
                timeout_s,
            };
            match self.push.send(&command).await {
                Ok(id) => commands.push(id),
                Err(SendError::Cloud(error @ CloudError::Refused { .. })) => {
                    // The role may only send to instances with the tag: one that lost it meanwhile has all refused.
                    let fit = self.shut_out_untagged(hosts, &error).await?;
                    match fit {
                        Some(fit) => open.extend(Some(fit).filter(|fit| !fit.is_empty())),
                        None => return Err(error.into()),
                    }
                }
                Err(SendError::Cloud(error)) => return Err(error.into()),
                Err(SendError::Instances(message)) if hosts.len() == 1 => {
                    if let Some(host) = hosts.pop() {
                        let reason = format!(
                            "Systems Manager refuses the instance `{}`: {message}. Check its state and its SSM Agent.",
                            host.row.name
                        );
                        self.shut_out(host, reason).await?;
                    }
                }
                Err(SendError::Instances(message)) => {
                    warn!(deployment = %deployment.id(), hosts = hosts.len(), message, "one of the hosts is refused");
                    let rest = hosts.split_off(hosts.len() / 2);
                    open.extend([rest, hosts]);
                }
            }
        }
        Ok(commands)
    }

    /// Shuts out those of `hosts` that have lost the tag without which nobody may send to them, and returns the others; nothing
    /// if none has, or if it cannot be found out.
    async fn shut_out_untagged(
        &self,
        hosts: Vec<Stored<HostRow>>,
        refusal: &CloudError,
    ) -> Result<Option<Vec<Stored<HostRow>>>, Error> {
        let names: Vec<String> = hosts.iter().map(|host| host.row.name.clone()).collect();
        let described = match self.fleet.describe(&names).await {
            Ok(described) => described,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(error, "which of the hosts may be sent to cannot be found out");
                return Ok(None);
            }
        };
        let (tag, value) = self.fleet.tag();
        let lacks = |one: &&Instance| one.tags.get(&tag) != Some(&value);
        let untagged: BTreeSet<&String> =
            described.iter().filter(lacks).map(|instance| &instance.id).collect();
        if untagged.is_empty() {
            return Ok(None);
        }
        let (out, fit): (Vec<_>, Vec<_>) =
            hosts.into_iter().partition(|host| untagged.contains(&host.row.name));
        for host in out {
            let reason = format!(
                "The instance `{}` has lost its tag `{tag}` = `{value}`, without which it may not be sent commands: {refusal}. \
                 Tag it again.",
                host.row.name
            );
            self.shut_out(host, reason).await?;
        }
        Ok(Some(fit))
    }

    /// Fails a host that has not claimed its command, unless it does just now.
    async fn shut_out(&self, mut host: Stored<HostRow>, reason: String) -> Result<(), Error> {
        loop {
            if host.row.heard_at.is_some() || host.row.out_of_reach.is_some() {
                return Ok(());
            }
            warn!(deployment = %host.row.deployment_id, host = host.row.name, reason, "shut out");
            host.row.out_of_reach = Some(OutOfReach::ShutOut);
            host.row.reason = Some(reason.clone());
            match self.base.table.write(&self.base.host_and_member(&host).await?).await {
                Ok(()) => {
                    let seen = engine::deployment::Fact::HostsSeen(vec![host.row.seen()]);
                    self.base.waker.wake(&host.row.deployment_id, vec![seen]);
                    return Ok(());
                }
                Err(TableError::Conflict(_)) => {
                    match rows::load(&*self.base.table, &host.row.key()).await? {
                        Some(newer) => host = newer,
                        None => return Ok(()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// How long a command may take: the time-outs of the hooks of this revision, those of the one that is stopped before,
/// what balancers may take, and a margin.
fn timeout_s(deployment: &Deployment) -> u32 {
    let hooks = |pin: Option<&engine::Pin>| pin.and_then(|pin| pin.hooks_s).unwrap_or(HOOKS_S);
    let own = hooks(deployment.pin());
    let before = deployment.order().fallback.as_ref().map_or(0, |last| hooks(Some(&last.pin)));
    let traffic = deployment.order().traffic.as_ref().map_or(0, |_| TRAFFIC_S);
    // In a shift, hosts wait for people and for the ladder: as long as all of it may take.
    let order = deployment.order();
    let shift = order.shift.as_ref().map_or(0, |_| order.total_ms / 1_000);
    let traffic = traffic.max(u32::try_from(shift).unwrap_or(u32::MAX));
    let all = own.saturating_add(before).saturating_add(traffic).saturating_add(MARGIN_S);
    all.min(TIMEOUT_MAX_S)
}
