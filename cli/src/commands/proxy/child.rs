//! The command that a proxy is for.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Heard, SignalKind, signal};

use crate::cloud::Keys;
use crate::find::{Connection, UserVariables};
use crate::output;

/// What is set, and what is taken out.
pub(super) struct Variables {
    set: Vec<(&'static str, String)>,
    removed: &'static [&'static str],
}

/// The environment of the command, beside the user's: the endpoint of CodeDeploy, and what else the command would not
/// find by itself as this program has found it.
pub(super) fn variables(connection: &Connection, url: &str, user: &UserVariables) -> Variables {
    let mut set = vec![("AWS_ENDPOINT_URL_CODEDEPLOY", url.to_owned())];
    if !user.has_region {
        set.push(("AWS_REGION", connection.region.clone()));
        set.push(("AWS_DEFAULT_REGION", connection.region.clone()));
    }
    if let Keys::User(keys) = &connection.keys
        && let Some(profile) = keys.profile()
    {
        set.push(("AWS_PROFILE", profile.to_owned()));
    }
    if user.has_proxy {
        let listed = user.no_proxy.trim_matches(',');
        let separator = if listed.is_empty() { "" } else { "," };
        let hosts = format!("{listed}{separator}127.0.0.1");
        set.push(("NO_PROXY", hosts.clone()));
        set.push(("no_proxy", hosts));
    }
    // With this one, AWS's tools would pass over the endpoint, and talk to AWS's own CodeDeploy.
    Variables { set, removed: &["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] }
}

/// Runs the command to its end, and ends as it does: with its code, or with 128 and the signal that ended it.
pub(super) async fn run(program: &OsStr, arguments: &[OsString], variables: Variables) -> ExitCode {
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.set);
    for name in variables.removed {
        command.env_remove(name);
    }
    // Listened to before there is somebody to hand them on to: one that comes in between would end this process alone.
    let ended = match Signals::new() {
        Ok(signals) => match command.spawn() {
            Ok(child) => signals.hand_on_until_ended(child).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match ended {
        Ok(status) => code(status),
        Err(error) => {
            let not_found = error.kind() == std::io::ErrorKind::NotFound;
            output::note(&format!("error: `{}` cannot be run: {error}", program.display()));
            // As shells have it.
            ExitCode::from(if not_found { 127 } else { 126 })
        }
    }
}

fn code(status: ExitStatus) -> ExitCode {
    let number = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(number).unwrap_or(1))
}

/// The signals that ask a program to end.
struct Signals {
    terminate: Heard,
    hang_up: Heard,
    interrupt: Heard,
    quit: Heard,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Hands signals on to the command; what it makes of them is its own affair.
    async fn hand_on_until_ended(mut self, mut child: Child) -> std::io::Result<ExitStatus> {
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        loop {
            let heard = tokio::select! {
                ended = child.wait() => return ended,
                _ = self.terminate.recv() => Some(Signal::TERM),
                _ = self.hang_up.recv() => Some(Signal::HUP),
                // A terminal has sent it to the command as well. To many, a second one means that there is no time to
                // end properly.
                _ = self.interrupt.recv() => Some(Signal::INT).filter(|_| !has_terminal()),
                _ = self.quit.recv() => Some(Signal::QUIT).filter(|_| !has_terminal()),
            };
            if let (Some(signal), Some(pid)) = (heard, pid) {
                // If it has just ended, that is heard next.
                kill_process(pid, signal).ok();
            }
        }
    }
}

/// Whether this process group is the one that a terminal sends its signals to.
fn has_terminal() -> bool {
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find::Origin;

    fn set(profile: Option<&str>, user: &UserVariables) -> Vec<(&'static str, String)> {
        let connection = Connection {
            api: String::new(),
            bucket: String::new(),
            bucket_url: None,
            region: "eu-central-1".to_owned(),
            keys: Keys::of_user(profile.map(str::to_owned), String::new()),
            origin: Origin::Environment,
        };
        variables(&connection, "http://127.0.0.1:1/x/", user).set
    }

    #[test]
    fn a_command_is_told_what_it_would_not_find_by_itself() {
        let url = ("AWS_ENDPOINT_URL_CODEDEPLOY", "http://127.0.0.1:1/x/".to_owned());
        let region = |name| (name, "eu-central-1".to_owned());
        let regions = [region("AWS_REGION"), region("AWS_DEFAULT_REGION")];
        let nothing = UserVariables::default();
        let [region, default_region] = regions;
        assert_eq!(set(None, &nothing), [url.clone(), region, default_region]);
        let with_region = UserVariables { has_region: true, ..nothing };
        assert_eq!(
            set(Some("prod"), &with_region),
            [url.clone(), ("AWS_PROFILE", "prod".to_owned())]
        );
        for (no_proxy, hosts) in [("", "127.0.0.1"), ("a,b,", "a,b,127.0.0.1")] {
            let no_proxy = no_proxy.to_owned();
            let user = UserVariables { has_proxy: true, no_proxy, ..with_region.clone() };
            let hosts = hosts.to_owned();
            let expected = [url.clone(), ("NO_PROXY", hosts.clone()), ("no_proxy", hosts)];
            assert_eq!(set(None, &user), expected);
        }
    }
}
