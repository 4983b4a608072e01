//! HAProxy as a balancer, through its runtime socket: `BACKEND`, or `BACKEND/PREFIX` for the servers of that backend whose
//! names begin with PREFIX. A server has the name of its host, with the prefix before it or not. Nothing is added to
//! HAProxy or removed from it; what an operator wrote in `haproxy.cfg` is what there is.

mod drains;
mod servers;
mod socket;
mod weights;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control::ports::{BalancerError, Standing};

pub use self::socket::Socket;
use drains::Drains;
use servers::Server;

/// The longest line of commands that is sent, in bytes; HAProxy's own limit is its buffer of 16 KiB.
const LINE_MAX: usize = 8_000;
/// The longest name of a backend, prefix or host, in bytes.
const NAME_MAX: usize = 255;

/// A running HAProxy.
#[derive(Debug, Clone)]
pub struct Haproxy {
    socket: Socket,
    /// How long connections may take to end on a server that is drained.
    patience: Duration,
    drains: Drains,
}

/// The servers that one name means.
#[derive(Debug, Clone, Copy)]
struct Group<'a> {
    backend: &'a str,
    prefix: &'a str,
}

impl<'a> Group<'a> {
    fn parse(group: &'a str) -> Result<Self, BalancerError> {
        let (backend, prefix) = group.split_once('/').unwrap_or((group, ""));
        if is_name(backend) && (prefix.is_empty() || is_name(prefix)) {
            return Ok(Self { backend, prefix });
        }
        let hint = "write `haproxy:BACKEND` or `haproxy:BACKEND/PREFIX`, with names of letters, digits, `-`, `_`, `.` and `:`";
        Err(BalancerError::Unknown { name: named(group), hint: hint.to_owned() })
    }

    fn name(self) -> String {
        let Self { backend, prefix } = self;
        if prefix.is_empty() { named(backend) } else { named(&format!("{backend}/{prefix}")) }
    }

    fn holds(self, server: &Server) -> bool {
        server.name.starts_with(self.prefix)
    }

    /// The server of a host.
    fn find<'s>(self, servers: &'s [Server], host: &str) -> Option<&'s Server> {
        let whole = format!("{}{host}", self.prefix);
        let mut ours = servers.iter().filter(|server| self.holds(server));
        ours.clone().find(|server| server.name == whole).or_else(|| ours.find(|s| s.name == host))
    }

    fn no_server(self, host: &str) -> BalancerError {
        let Self { backend, prefix } = self;
        let hint = format!(
            "the backend `{backend}` has no server for the host `{host}`: add `server {prefix}{host} ADDRESS:PORT check` to it in haproxy.cfg, and reload HAProxy"
        );
        BalancerError::Unknown { name: self.name(), hint }
    }

    /// HAProxy said something that means no.
    fn refused(self, answer: &str) -> BalancerError {
        let line = servers::unexpected(answer);
        let message = if answer.contains("Permission denied") {
            format!("{line}: add `level admin` to the line `stats socket` in haproxy.cfg")
        } else if answer.contains("static LB algorithm") {
            format!(
                "{line}: choose a `balance` whose weights can change, like `roundrobin`, in haproxy.cfg"
            )
        } else {
            line
        };
        BalancerError::Refused { name: self.name(), message }
    }
}

/// Names go into commands, where a blank or a `;` would be another command.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(plain)
}

fn named(group: &str) -> String {
    format!("haproxy:{group}")
}

impl Haproxy {
    /// The HAProxy whose runtime socket is there. It is not asked anything yet.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self { socket, patience: drains::PATIENCE, drains: Drains::default() }
    }

    /// The same, with another time that connections may take to end on a server that is drained.
    #[must_use]
    pub fn with_drain(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// What its runtime socket lets one do: `user`, `operator` or `admin`; or what else it answers, shortened.
    pub(super) async fn level(&self) -> std::io::Result<String> {
        let answer = self.socket.ask("show cli level").await?;
        Ok(answer.lines().next().unwrap_or_default().trim().chars().take(200).collect())
    }

    pub(super) async fn check(&self, group: &str) -> Result<(), BalancerError> {
        let group = Group::parse(group)?;
        let servers = self.servers(group).await?;
        if servers.iter().any(|server| group.holds(server)) {
            return Ok(());
        }
        let Group { backend, prefix } = group;
        let lacks = match prefix {
            "" => "no server".to_owned(),
            prefix => format!("no server whose name begins with `{prefix}`"),
        };
        let hint = format!(
            "the backend `{backend}` has {lacks}: add `server {prefix}HOST ADDRESS:PORT check` for each host to it in haproxy.cfg, and reload HAProxy"
        );
        Err(BalancerError::Unknown { name: group.name(), hint })
    }

    pub(super) async fn admit(&self, group: &str, host: &str) -> Result<(), BalancerError> {
        let group = Group::parse(group)?;
        let servers = self.servers(group).await?;
        let server = group.find(&servers, host).ok_or_else(|| group.no_server(host))?;
        let Group { backend, .. } = group;
        let ready = format!("set server {backend}/{} state ready", server.name);
        // What HAProxy knows may be of the version before, which its checks need not have seen go: only one that comes
        // after this says that the host is healthy.
        let down = format!("set server {backend}/{} health down", server.name);
        let commands: Vec<String> =
            server.has_check.then_some(down).into_iter().chain([ready]).collect();
        self.order(group, &commands).await
    }

    pub(super) async fn drain(&self, group: &str, hosts: &[String]) -> Result<(), BalancerError> {
        let group = Group::parse(group)?;
        let servers = self.servers(group).await?;
        // A host that HAProxy does not know gets no traffic from it, which is what is wanted.
        let found = hosts.iter().filter_map(|host| group.find(&servers, host));
        let Group { backend, .. } = group;
        let command = |server: &Server| format!("set server {backend}/{} state drain", server.name);
        let ready = found.filter(|server| server.is_ready);
        self.order(group, &ready.map(command).collect::<Vec<_>>()).await
    }

    pub(super) async fn standing(
        &self,
        group: &str,
        hosts: &[String],
    ) -> Result<BTreeMap<String, Standing>, BalancerError> {
        let group = Group::parse(group)?;
        let servers = self.servers(group).await?;
        let standing = |host: &String| {
            let server = group.find(&servers, host);
            (host.clone(), server.map_or(Standing::Out, |server| self.standing_of(group, server)))
        };
        Ok(hosts.iter().map(standing).collect())
    }

    fn standing_of(&self, group: Group<'_>, server: &Server) -> Standing {
        let now = Instant::now();
        server.standing(self.drains.is_given_up(group.backend, server, self.patience, now))
    }

    pub(super) async fn split(
        &self,
        old: &str,
        new: &str,
        percent: u8,
    ) -> Result<(), BalancerError> {
        let (old, new) = pair(old, new)?;
        if percent > 100 {
            let message = format!("{percent} % of the traffic cannot be given: at most 100 %");
            return Err(BalancerError::Refused { name: new.name(), message });
        }
        let servers = self.servers(new).await?;
        let count = |group: Group<'_>| {
            let ours = servers.iter().filter(|server| group.holds(server));
            let (up, all) = (ours.clone().filter(|s| s.takes_traffic()).count(), ours.count());
            // Where nobody takes traffic yet, as if all did.
            if up == 0 { all } else { up }
        };
        let (olds, news) = weights::share(count(old), count(new), percent);
        let mut commands = commands(old, &servers, &olds);
        commands.extend(self::commands(new, &servers, &news));
        // HAProxy serves requests between two commands: some server has to have a weight then.
        commands.sort_by_key(|(rises, _)| !rises);
        let commands: Vec<String> = commands.into_iter().map(|(_, command)| command).collect();
        self.order(new, &commands).await
    }

    pub(super) async fn percent(&self, old: &str, new: &str) -> Result<u8, BalancerError> {
        let (old, new) = pair(old, new)?;
        let servers = self.servers(new).await?;
        let sum = |group: Group<'_>| -> u64 {
            let ours =
                servers.iter().filter(|server| group.holds(server) && server.takes_traffic());
            ours.map(|server| u64::from(server.weight)).sum()
        };
        let (old, new) = (sum(old), sum(new));
        // Rounded, but not to all or nothing: these are promises.
        let percent = ((new * 200 + old + new) / 2).checked_div(old + new).unwrap_or(0);
        let percent = match (old, new) {
            (_, 0) => 0,
            (0, _) => 100,
            _ => percent.clamp(1, 99),
        };
        Ok(u8::try_from(percent).unwrap_or(100))
    }

    /// The servers of the group's backend.
    async fn servers(&self, group: Group<'_>) -> Result<Vec<Server>, BalancerError> {
        let Group { backend, .. } = group;
        let state = self.ask(group, &format!("show servers state {backend}")).await?;
        if state.starts_with("Can't find backend") {
            let hint =
                format!("add a section `backend {backend}` to haproxy.cfg, and reload HAProxy");
            return Err(BalancerError::Unknown { name: group.name(), hint });
        }
        // 4 is servers, -1 all of them.
        let stat = self.ask(group, &format!("show stat {backend} 4 -1")).await?;
        servers::parse(&state, &stat).map_err(|_| {
            let strange = if state.contains("# be_id") { &stat } else { &state };
            group.refused(strange)
        })
    }

    /// Gives commands that are answered with nothing when they succeed: all that fit at once, so that they act together.
    async fn order(&self, group: Group<'_>, commands: &[String]) -> Result<(), BalancerError> {
        let mut commands = commands.iter().peekable();
        while let Some(first) = commands.next() {
            let mut line = first.clone();
            while let Some(next) = commands.next_if(|next| line.len() + next.len() < LINE_MAX) {
                line.push(';');
                line.push_str(next);
            }
            let answer = self.ask(group, &line).await?;
            if !answer.is_empty() {
                return Err(group.refused(&answer));
            }
        }
        Ok(())
    }

    async fn ask(&self, group: Group<'_>, command: &str) -> Result<String, BalancerError> {
        self.socket.ask(command).await.map_err(|error| {
            let text =
                format!("the runtime socket {} of HAProxy cannot be used: {error}", self.socket);
            let source = Box::new(std::io::Error::new(error.kind(), text));
            BalancerError::Unavailable { name: group.name(), source }
        })
    }
}

/// The groups of a pair, which have to be different servers of one backend.
fn pair<'a>(old: &'a str, new: &'a str) -> Result<(Group<'a>, Group<'a>), BalancerError> {
    let (old, new) = (Group::parse(old)?, Group::parse(new)?);
    let overlap = old.prefix.starts_with(new.prefix) || new.prefix.starts_with(old.prefix);
    if old.backend == new.backend && !overlap {
        return Ok((old, new));
    }
    let message = format!(
        "`{}` and `{}` do not share traffic: name servers of one backend by two prefixes, like `haproxy:web/blue-` and `haproxy:web/green-`",
        old.name(),
        new.name()
    );
    Err(BalancerError::Refused { name: new.name(), message })
}

/// The commands that give weights to the servers of a group, each with whether it raises what the server has: those that
/// take traffic get theirs in order, and the others the first one, for when they come.
fn commands(group: Group<'_>, servers: &[Server], weights: &[u32]) -> Vec<(bool, String)> {
    let ours: Vec<&Server> = servers.iter().filter(|server| group.holds(server)).collect();
    let counts_all = !ours.iter().any(|server| server.takes_traffic());
    let first = weights.first().copied().unwrap_or(0);
    let mut weights = weights.iter().copied();
    let command = |server: &&Server| {
        let counts = counts_all || server.takes_traffic();
        let weight = if counts { weights.next().unwrap_or(first) } else { first };
        let command = format!("set server {}/{} weight {weight}", group.backend, server.name);
        (weight > server.weight, command)
    };
    ours.iter().map(command).collect()
}
