//! The users of a host: who `runas` means. Reads the host's own files, and asks `getent` for users that are kept
//! elsewhere (LDAP, SSSD).

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{Gid, Uid};
use rustix::process::{getegid, geteuid};
use thiserror::Error;

/// A user with everything that a process of it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) groups: Vec<Gid>,
    pub(crate) home: PathBuf,
    pub(crate) shell: String,
}

/// A user that is not there.
#[derive(Debug, Error)]
#[error(
    "there is no user `{name}` on this host: create it before the deployment (a hook that runs as root before may \
     do so), or name another one in `runas`"
)]
pub(crate) struct UnknownUser {
    name: String,
}

/// The programs that know users who are kept elsewhere, and how long they are given to answer.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(crate) getent: PathBuf,
    pub(crate) id: PathBuf,
    pub(crate) patience: Duration,
}

impl Default for Directory {
    fn default() -> Self {
        Self { getent: "getent".into(), id: "id".into(), patience: Duration::from_secs(30) }
    }
}

impl Directory {
    /// Finds a user by its name, in a thread of its own: a directory that is slow to answer must not hold up anything else.
    pub(crate) async fn find(&self, name: &str) -> Result<Account, UnknownUser> {
        let (directory, its_name) = (self.clone(), name.to_owned());
        let found = tokio::task::spawn_blocking(move || find(&directory, &its_name)).await;
        found.unwrap_or_else(|_| Err(UnknownUser { name: name.to_owned() }))
    }

    /// The line of a user or group that `getent` knows.
    pub(crate) fn line(&self, database: &str, name: &str) -> Option<String> {
        ask(Command::new(&self.getent).args([database, name]), self.patience)
    }
}

fn find(directory: &Directory, name: &str) -> Result<Account, UnknownUser> {
    let unknown = || UnknownUser { name: name.to_owned() };
    if name.is_empty() || name.starts_with('-') || name.contains([':', '\n']) {
        return Err(unknown());
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    if let Some(mut account) = users.lines().find_map(|line| parse(line, |n, _| n == name)) {
        let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
        account.groups = groups.lines().filter_map(|line| member(line, name)).collect();
        account.groups.push(account.gid);
        return Ok(account);
    }
    let line = directory.line("passwd", name).ok_or_else(unknown)?;
    let mut account = parse(line.trim_end(), |n, _| n == name).ok_or_else(unknown)?;
    let ids = ask(Command::new(&directory.id).args(["-G", name]), directory.patience);
    let ids = ids.unwrap_or_default();
    account.groups =
        ids.split_whitespace().filter_map(|id| id.parse().ok().map(Gid::from_raw)).collect();
    account.groups.push(account.gid);
    Ok(account)
}

/// The user that the agent runs as; its name is its number where no name is known.
pub(crate) fn own() -> Account {
    let uid = geteuid();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.lines().find_map(|line| parse(line, |_, id| id == uid)).unwrap_or_else(|| Account {
        name: uid.to_string(),
        uid,
        gid: getegid(),
        groups: Vec::new(),
        home: Path::new("/").to_owned(),
        shell: "/bin/sh".to_owned(),
    })
}

fn parse(line: &str, wanted: impl Fn(&str, Uid) -> bool) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let uid = Uid::from_raw(fields.nth(1)?.parse().ok()?);
    let gid = Gid::from_raw(fields.next()?.parse().ok()?);
    let home = PathBuf::from(fields.nth(1)?);
    let shell = fields.next().filter(|shell| !shell.is_empty()).unwrap_or("/bin/sh").to_owned();
    wanted(name, uid).then(|| Account {
        name: name.to_owned(),
        uid,
        gid,
        groups: Vec::new(),
        home,
        shell,
    })
}

/// The number of the group on a line of `/etc/group`, if the user is listed in it.
fn member(line: &str, name: &str) -> Option<Gid> {
    let mut fields = line.split(':');
    let gid = fields.nth(2)?.parse().ok()?;
    fields.next()?.split(',').any(|user| user == name).then(|| Gid::from_raw(gid))
}

/// What a program says, if it ends well and in time.
fn ask(command: &mut Command, patience: Duration) -> Option<String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut stdout = child.stdout.take()?;
    let (told, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text);
        // Nobody listens any more if it took too long.
        told.send(read.ok().map(|_| text)).ok();
    });
    let text = said.recv_timeout(patience).ok().flatten();
    if text.is_none() {
        tracing::warn!(?command, "a look-up of a user or group has not been answered in time");
        child.kill().ok();
    }
    child.wait().ok()?.success().then_some(text)?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_user_is_found_by_name_and_one_that_is_not_there_is_named() {
        let directory = Directory::default();
        assert_eq!(find(&directory, "root").unwrap().uid, Uid::ROOT);
        let error = find(&directory, "nobody-by-this-name").unwrap_err().to_string();
        assert!(error.contains("no user `nobody-by-this-name`"), "{error}");
        assert!(find(&directory, "--help").is_err());
    }

    /// A directory whose programs take their time.
    fn slow(place: &Path, script: &str, patience: Duration) -> Directory {
        let program = place.join("slow");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Directory { getent: program.clone(), id: program, patience }
    }

    #[tokio::test]
    async fn a_slow_directory_holds_up_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let script =
            "sleep 1; [ $1 = passwd ] && echo ann:x:4711:4712::/home/ann: || echo 4713 4714";
        let directory = slow(place.path(), script, Duration::from_secs(30));
        let look_up = directory.find("ann");
        tokio::pin!(look_up);
        // One thread does everything here, as in the runner.
        let mut beats = 0;
        let account = loop {
            tokio::select! {
                account = &mut look_up => break account.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(50)) => beats += 1,
            }
        };
        assert!(beats > 5, "{beats} heartbeats in two seconds");
        let groups = account.groups.iter().map(|gid| gid.as_raw());
        assert_eq!((account.uid.as_raw(), groups.collect()), (4711, vec![4713, 4714, 4712]));
    }

    #[tokio::test]
    async fn a_directory_that_does_not_answer_is_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let directory = slow(place.path(), "exec sleep 600", Duration::from_millis(200));
        assert!(directory.find("ann").await.is_err());
    }

    #[test]
    fn groups_are_those_that_list_the_user() {
        assert_eq!(member("adm:x:4:syslog,ann", "ann"), Some(Gid::from_raw(4)));
        assert_eq!(member("adm:x:4:syslog,anna", "ann"), None);
    }
}
