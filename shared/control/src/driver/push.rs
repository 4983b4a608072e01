//! Pushing commands to hosts: who can be reached, one secret for a batch, and the culprit among fifty.

use engine::deployment::Deployment;
use tracing::{info, warn};
use wire::host::BatchKey;

use super::down::in_words;
use crate::ports::{Command, Reach, SendError};
use crate::rows::{self, BatchHost, BatchRow, CommandRow, HostRow, OutOfReach, Stored};
use crate::table::TableError;
use crate::{Control, Error, hash_of};

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

/// The longest that Run Command lets a command take: 48 hours.
const TIMEOUT_MAX_S: u32 = 172_800;

impl Control {
    /// Sends the hosts of a batch their command. A host that cannot be sent to fails alone, with the reason. A batch that
    /// was sent is not sent again; one that may have been is, and both copies may be claimed.
    pub(super) async fn push(
        &self,
        deployment: &Deployment,
        batch: BatchKey,
        hosts: Vec<Stored<HostRow>>,
    ) -> Result<(), Error> {
        let hosts = self.fit(hosts).await?;
        if hosts.is_empty() {
            return Ok(());
        }
        let key = BatchRow::key_of(&batch);
        let known = rows::load::<BatchRow>(&*self.table, &key).await?;
        if known.as_ref().is_some_and(|known| !known.row.commands.is_empty()) {
            return Ok(());
        }
        let secret = self.new_token();
        let mut row = known.unwrap_or_else(|| Stored {
            row: BatchRow {
                batch: batch.clone(),
                at: self.now(),
                hosts: Vec::new(),
                secrets: Vec::new(),
                commands: Vec::new(),
            },
            version: 0,
        });
        row.row.hosts = hosts
            .iter()
            .map(|host| BatchHost { ordinal: host.row.ordinal, name: host.row.name.clone() })
            .collect();
        row.row.secrets.push(hash_of(&secret));
        // The secret is known before the first host can claim with it.
        let write = if row.version == 0 { rows::create(&row.row)? } else { row.replace()? };
        self.table.write(&[write]).await?;
        row.version += 1;
        let commands = self.send(deployment, &batch, &secret, hosts).await?;
        info!(deployment = %deployment.id(), %batch, commands = ?commands, "pushed");
        self.note_sent(row, commands).await
    }

    /// Notes that a batch was sent. If this is lost, it is sent once more.
    async fn note_sent(
        &self,
        mut row: Stored<BatchRow>,
        commands: Vec<String>,
    ) -> Result<(), Error> {
        let mut writes = Vec::new();
        for command in &commands {
            let (batch, at) = (row.row.batch.clone(), self.now());
            writes.push(rows::put(&CommandRow { command: command.clone(), batch, at })?);
        }
        row.row.commands = commands;
        writes.push(row.replace()?);
        match self.table.write(&writes).await {
            // Another copy of the errand was faster; the hosts do not mind.
            Ok(()) | Err(TableError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
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
        let reach = self.cloud.push.reach(&names).await?;
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
            since.map(|since| format!(", last seen {}", in_words(self.now().since_ms(since))));
        host.row.hint = Some(format!(
            "Systems Manager had lost its connection to the instance when the command was sent (ConnectionLost{}).",
            since.map(|since| format!("{since} ago")).unwrap_or_default()
        ));
        match self.table.write(&[host.replace()?]).await {
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
            match self.cloud.push.send(&command).await {
                Ok(id) => commands.push(id),
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
        let Some(sent) = rows::load::<CommandRow>(&*self.table, &key).await? else {
            return Ok(());
        };
        let key = BatchRow::key_of(&sent.row.batch);
        let batch = rows::load::<BatchRow>(&*self.table, &key).await?;
        let hosts = batch.map(|batch| batch.row.hosts).unwrap_or_default();
        let Some(host) = hosts.iter().find(|host| host.name == instance) else { return Ok(()) };
        let said = self.cloud.push.outcome(command, instance).await?;
        let said = said
            .unwrap_or_else(|| format!("Systems Manager says of its command {command}: {status}."));
        let key = HostRow::key_of(&sent.row.batch.deployment_id, host.ordinal);
        while let Some(mut host) = rows::load::<HostRow>(&*self.table, &key).await? {
            if host.row.has_ended() || host.row.out_of_reach.is_some() || host.row.gone {
                break;
            }
            info!(deployment = %host.row.deployment_id, host = instance, said, "a command ended badly");
            host.row.hint = Some(said.clone());
            match self.table.write(&[host.replace()?]).await {
                Err(TableError::Conflict(_)) => {}
                written => return written.map_err(Into::into),
            }
        }
        Ok(())
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
            match self.table.write(&[host.replace()?]).await {
                Ok(()) => {
                    let seen = engine::deployment::Fact::HostsSeen(vec![host.row.seen()]);
                    self.bell.ring(&host.row.deployment_id, vec![seen]);
                    return Ok(());
                }
                Err(TableError::Conflict(key)) => match rows::load(&*self.table, &key).await? {
                    Some(newer) => host = newer,
                    None => return Ok(()),
                },
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
