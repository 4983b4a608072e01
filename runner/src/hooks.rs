//! One script of a hook: which file it is, what it is given, and what its end means (`docs/semantics.md#hooks`).
//!
//! A script runs with the host's root as its working directory, where CodeDeploy's own agent takes whatever directory it
//! was started in. Its environment is clean: nothing of the agent's own comes through.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use engine::appspec::{AppSpec, Script};
use engine::lifecycle::Event;
use rustix::io::Errno;
use thiserror::Error;
use wire::host::ErrorCode;

use crate::accounts::{self, Account, Directory, UnknownUser};
use crate::config::AgentConfig;
use crate::failure::Failure;
use crate::hints;
use crate::host::Host;
use crate::orders;
use crate::output::EventLog;
use crate::process::{self, Outcome};
use crate::root::HostRoot;
use crate::stop::Stop;

/// A script that can be started.
#[derive(Debug)]
pub(crate) struct Prepared {
    path: PathBuf,
    account: Option<Account>,
    through_sudo: Option<Option<String>>,
    working_dir: PathBuf,
    variables: BTreeMap<String, String>,
}

impl Prepared {
    /// Finds the script and its user, and makes it executable.
    pub(crate) async fn new(
        host: &Host,
        command: &orders::Command<'_>,
        event: Event,
        archive: &Path,
        script: &Script,
        log: &EventLog,
    ) -> Result<Self, Failure> {
        let fail = |code, message| Failure { code, script: script.location.clone(), message };
        let path = locate(archive, &script.location)
            .map_err(|message| fail(ErrorCode::ScriptMissing, message))?;
        make_executable(&path, &script.location, log)
            .map_err(|message| fail(ErrorCode::ScriptNotExecutable, message))?;
        let own = accounts::own();
        let (account, through_sudo) = user_of(script, &own)
            .await
            .map_err(|error| fail(ErrorCode::UnknownError, error.to_string()))?;
        let working_dir = match &host.config.root {
            HostRoot::Whole => PathBuf::from("/"),
            HostRoot::Prefix(prefix) => prefix.clone(),
        };
        let variables = variables(host, command, event, account.as_ref().unwrap_or(&own));
        let account = if through_sudo.is_some() { None } else { account };
        Ok(Self { path, account, through_sudo, working_dir, variables })
    }

    /// Variables by which the script's process can be told from any other.
    pub(crate) fn marks(&self, config: &AgentConfig) -> Vec<(String, String)> {
        let own = config.hook_env.keys().map(String::as_str);
        let names =
            ["DEPLOYMENT_ID", "DEPLOYMENT_GROUP_ID", "LIFECYCLE_EVENT"].into_iter().chain(own);
        names
            .filter_map(|name| Some((name.to_owned(), self.variables.get(name)?.clone())))
            .collect()
    }

    /// Runs the script; `Ok(None)` says that it was ended because the agent has to.
    pub(crate) async fn run(
        &self,
        config: &AgentConfig,
        script: &Script,
        pid_path: &Path,
        log: &Arc<EventLog>,
        stop: &Stop,
    ) -> Result<Option<()>, Failure> {
        let start = self.start(config, script, pid_path, log, stop).await;
        let subject = format!("script `{}`{}", script.location, as_user(script));
        let (code, message) = match start {
            Ok(Outcome::Ended(status)) if status.success() => return Ok(Some(())),
            Ok(Outcome::Interrupted) => return Ok(None),
            Ok(Outcome::Ended(status)) => {
                let hint = hints::for_output(status.code(), &log.tail()).unwrap_or_default();
                (ErrorCode::ScriptFailed, format!("{subject} {}{hint}", ending(status)))
            }
            Ok(Outcome::TimedOut) => {
                let message = format!(
                    "{subject} was not done in {} s and was ended with everything it had started: raise its `timeout`, or \
                     find out in its output what it waited for",
                    script.timeout_s
                );
                (ErrorCode::ScriptTimedOut, message)
            }
            Err(error) => {
                let as_other = self.account.is_some();
                let hint = hints::for_start(&self.path, &self.working_dir, as_other, &error);
                (ErrorCode::UnknownError, format!("{subject} could not be started: {error}{hint}"))
            }
        };
        Err(Failure { code, script: script.location.clone(), message })
    }

    /// Runs the file itself, or hands it to the shell if its first line names no interpreter.
    async fn start(
        &self,
        config: &AgentConfig,
        script: &Script,
        pid_path: &Path,
        log: &Arc<EventLog>,
        stop: &Stop,
    ) -> std::io::Result<Outcome> {
        let limit = Duration::from_secs(script.timeout_s);
        let (account, limits) = (self.account.as_ref(), &config.limits);
        let direct = || self.command(false);
        let end = process::run(&direct, account, pid_path, limit, log, limits, stop).await;
        let no_exec = Some(Errno::NOEXEC.raw_os_error());
        if !end.as_ref().is_err_and(|error| error.raw_os_error() == no_exec) {
            return end;
        }
        let shell = || self.command(true);
        process::run(&shell, account, pid_path, limit, log, limits, stop).await
    }

    fn command(&self, through_shell: bool) -> Command {
        let mut words = Vec::new();
        if let Some(user) = &self.through_sudo {
            words.extend(["sudo".into(), "-n".into()]);
            words.extend(user.iter().flat_map(|user| ["-u".into(), user.into()]));
            words.push("--".into());
        }
        if through_shell {
            words.push("/bin/sh".into());
        }
        words.push(self.path.clone().into_os_string());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env_clear().envs(&self.variables).current_dir(&self.working_dir);
        command
    }
}

/// The user that a script is run as, if it is not the agent's own, and through sudo as whom.
type Users = (Option<Account>, Option<Option<String>>);

/// Why a script cannot run as its user.
#[derive(Debug, Error)]
enum NoUser {
    #[error(transparent)]
    Unknown(#[from] UnknownUser),
    #[error(
        "script `{script}` is to run as `{wanted}`, but the agent runs as `{own}`, which may not become another user: run \
         the agent as root, or remove `runas`"
    )]
    Refused { script: String, wanted: String, own: String },
}

async fn user_of(script: &Script, own: &Account) -> Result<Users, NoUser> {
    let is_root = own.uid.is_root();
    let wanted = script.runas.as_deref().filter(|name| *name != own.name);
    let through_sudo = (script.sudo && !is_root).then(|| wanted.map(str::to_owned));
    if let (Some(wanted), None, false) = (wanted, &through_sudo, is_root) {
        let (script, wanted, own) = (script.location.clone(), wanted.to_owned(), own.name.clone());
        return Err(NoUser::Refused { script, wanted, own });
    }
    let account = match wanted {
        Some(name) => Some(Directory::default().find(name).await?),
        None => None,
    };
    Ok((account, through_sudo))
}

/// Checks that the scripts of `events` that come after Install have their users, so that a host on which they have not
/// keeps what is installed there. What runs before Install has had its chance to make them. A user whom a script of
/// after Install may still make comes back as a warning: its turn will show.
pub(crate) async fn check_users(spec: &AppSpec, events: &[Event]) -> Result<Vec<String>, Failure> {
    let own = accounts::own();
    let (mut known, mut warnings) = (BTreeSet::new(), Vec::new());
    let mut is_first = true;
    for event in events.iter().filter(|event| **event > Event::Install) {
        for script in spec.hooks.get(event.name()).into_iter().flatten() {
            let may_be_made = !std::mem::take(&mut is_first);
            if !known.insert((script.runas.as_deref(), script.sudo)) {
                continue;
            }
            match user_of(script, &own).await {
                Ok(_) => {}
                Err(error @ NoUser::Unknown(_)) if may_be_made => warnings.push(format!(
                    "{event} will fail unless a script before `{}` mends this: {error}",
                    script.location
                )),
                Err(error) => {
                    return Err(Failure {
                        code: ErrorCode::UnknownError,
                        script: script.location.clone(),
                        message: format!(
                            "nothing was installed, because {event} could not run: {error}"
                        ),
                    });
                }
            }
        }
    }
    Ok(warnings)
}

fn as_user(script: &Script) -> String {
    script.runas.as_ref().map(|user| format!(" (as user `{user}`)")).unwrap_or_default()
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => hints::for_signal(signal),
        (None, None) => format!("failed: {status}"),
    }
}

/// The file that a `location` means. A leading `/` is the archive's root; what leaves the archive is no script.
fn locate(archive: &Path, location: &str) -> Result<PathBuf, String> {
    let outside = || {
        format!(
            "script `{location}` leads out of the bundle: a `location` is a path inside of it, without `..`"
        )
    };
    let relative = Path::new(location.trim_start_matches('/'));
    if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let missing = |error| {
        format!(
            "script `{location}` is not in the bundle ({error}): add it, or correct its `location` in the AppSpec file"
        )
    };
    let root = archive.canonicalize().map_err(missing)?;
    let path = root.join(relative).canonicalize().map_err(missing)?;
    if !path.starts_with(&root) {
        return Err(outside());
    }
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("script `{location}` is no file: a `location` names one script"))
    }
}

fn make_executable(path: &Path, location: &str, log: &EventLog) -> Result<(), String> {
    let failed = |error| format!("script `{location}` could not be made executable: {error}");
    let mode = path.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o111 == 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        log.warn(&format!(
            "script `{location}` was not executable and was made so; set its mode before it is put into the bundle (`chmod +x`)"
        ));
    }
    Ok(())
}

/// The whole environment of a script.
fn variables(
    host: &Host,
    command: &orders::Command<'_>,
    event: Event,
    account: &Account,
) -> BTreeMap<String, String> {
    let specification = command.specification;
    let bundle = &specification.bundle;
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: &str| all.insert(name.to_owned(), value.to_owned());
    set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    set("LANG", "C.UTF-8");
    set("HOME", &account.home.to_string_lossy());
    set("SHELL", &account.shell);
    set("USER", &account.name);
    set("LOGNAME", &account.name);
    if let Some(name) = command.host_name {
        set("HOST_NAME", name);
    }
    for (name, value) in &host.config.hook_env {
        set(name, value);
    }
    set("LIFECYCLE_EVENT", event.name());
    set("DEPLOYMENT_ID", specification.deployment_id.as_str());
    set("APPLICATION_NAME", &specification.application_name);
    set("DEPLOYMENT_GROUP_NAME", &specification.deployment_group_name);
    set("DEPLOYMENT_GROUP_ID", specification.deployment_group_id.as_str());
    set("BUNDLE_BUCKET", &bundle.bucket);
    set("BUNDLE_KEY", &bundle.key);
    set("BUNDLE_VERSION", bundle.version.as_deref().unwrap_or(""));
    set("BUNDLE_ETAG", bundle.e_tag.as_deref().unwrap_or(""));
    all
}
