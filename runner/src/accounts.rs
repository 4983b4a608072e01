//! The users of a host: who `runas` means. Reads the host's own files, and asks `getent` for users that are kept
//! elsewhere (LDAP, SSSD).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    "there is no user `{name}` on this host: create it before the deployment (a BeforeInstall hook that runs as \
     root may do so), or name another one in `runas`"
)]
pub(crate) struct UnknownUser {
    name: String,
}

/// Finds a user by its name.
pub(crate) fn find(name: &str) -> Result<Account, UnknownUser> {
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
    let line = ask(Command::new("getent").args(["passwd", name])).ok_or_else(unknown)?;
    let mut account = parse(line.trim_end(), |n, _| n == name).ok_or_else(unknown)?;
    let ids = ask(Command::new("id").args(["-G", name])).unwrap_or_default();
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

fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_and_one_that_is_not_there_is_named() {
        assert_eq!(find("root").unwrap().uid, Uid::ROOT);
        let error = find("nobody-by-this-name").unwrap_err().to_string();
        assert!(error.contains("no user `nobody-by-this-name`"), "{error}");
        assert!(find("--help").is_err());
    }

    #[test]
    fn groups_are_those_that_list_the_user() {
        assert_eq!(member("adm:x:4:syslog,ann", "ann"), Some(Gid::from_raw(4)));
        assert_eq!(member("adm:x:4:syslog,anna", "ann"), None);
    }
}
