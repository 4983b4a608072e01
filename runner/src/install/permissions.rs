//! `permissions` of the AppSpec: who owns what was installed, and who may do what with it
//! (`docs/semantics.md#install`). Everything is checked before anything is touched.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Command;

use engine::appspec::{Context, Permission};
use serde::{Deserialize, Serialize};

use super::error::InstallError;
use super::host::Host;
use super::state::Manifest;
use super::tree::{Tree, Want, place};
use crate::accounts::Directory;

/// What the AppSpec says about one path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) labels: Labels,
}

/// What only other programs can set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Labels {
    /// Entries for `setfacl`.
    pub(super) acls: Vec<String>,
    /// Arguments for `chcon`.
    pub(super) context: Vec<String>,
    /// The SELinux label that it gets from where it will stand.
    #[serde(default)]
    pub(super) label: Option<String>,
}

/// The grants by path. The same path must not be granted twice.
pub(super) fn grants(
    host: &Host,
    installed: &Manifest,
    tree: &Tree,
    permissions: &[Permission],
) -> Result<BTreeMap<String, Grant>, InstallError> {
    let mut grants = BTreeMap::new();
    for permission in permissions {
        let object = place(host, installed, &permission.object)?;
        let refuse = |reason: String| InstallError::Permissions {
            object: permission.object.clone(),
            reason,
        };
        let grant = grant(permission).map_err(refuse)?;
        for (path, want) in matching(tree, &object, permission).map_err(refuse)? {
            let mut grant = grant.clone();
            if !matches!(want, Want::Dir { .. }) {
                grant.labels.acls.retain(|acl| !is_default(acl));
            }
            if grants.insert(path.clone(), grant).is_some() {
                return Err(refuse(format!(
                    "`/{path}` is meant more than once; keep one of the entries"
                )));
            }
        }
    }
    Ok(grants)
}

/// What a permission is about: the object itself if it is a file that is installed, else what is installed below it.
fn matching<'t>(
    tree: &'t Tree,
    object: &str,
    permission: &Permission,
) -> Result<Vec<(&'t String, &'t Want)>, String> {
    if let Some((path, want)) =
        tree.get_key_value(object).filter(|(_, want)| !matches!(want, Want::Dir { .. }))
    {
        if permission.pattern != "**" || !permission.except.is_empty() {
            return Err("the object is a file; take `pattern` and `except` out".to_owned());
        }
        if permission.acls.iter().any(|acl| is_default(acl)) {
            return Err("the object is a file; default ACLs are for directories".to_owned());
        }
        return Ok(if permission.files { vec![(path, want)] } else { Vec::new() });
    }
    let below = |path: &str| {
        let rest =
            if object.is_empty() { path } else { path.strip_prefix(object)?.strip_prefix('/')? };
        let matches_name = |pattern: &String| !rest.contains('/') && is_match(pattern, rest);
        let included = permission.pattern == "**" || matches_name(&permission.pattern);
        (included && !permission.except.iter().any(matches_name)).then_some(())
    };
    let of_type = |want: &Want| match want {
        Want::Dir { .. } => permission.directories,
        Want::File { .. } | Want::Symlink { .. } => permission.files,
    };
    Ok(tree.iter().filter(|(path, want)| of_type(want) && below(path).is_some()).collect())
}

/// Whether a name fits a pattern, in which `*` stands for any characters.
fn is_match(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

fn grant(permission: &Permission) -> Result<Grant, String> {
    let uid = permission.owner.as_deref().map(|name| account("passwd", name)).transpose()?;
    let gid = permission.group.as_deref().map(|name| account("group", name)).transpose()?;
    if !permission.acls.is_empty() && !is_program("setfacl") {
        return Err("`acls` need the program `setfacl`, which is not on this host; install the package `acl`".into());
    }
    let context = permission.context.as_ref().map(context).transpose()?.unwrap_or_default();
    let labels = Labels { acls: permission.acls.clone(), context, label: None };
    Ok(Grant { mode: permission.mode, uid, gid, labels })
}

fn context(context: &Context) -> Result<Vec<String>, String> {
    if !Path::new("/sys/fs/selinux/enforce").exists() || !is_program("chcon") {
        return Err(
            "`context` needs SELinux, which this host does not have; take it out".to_owned()
        );
    }
    let mut arguments = Vec::new();
    for (flag, value) in
        [("-u", &context.user), ("-t", &Some(context.kind.clone())), ("-l", &context.range)]
    {
        if let Some(value) = value {
            arguments.extend([flag.to_owned(), value.clone()]);
        }
    }
    Ok(arguments)
}

/// The number of a user or group, from the host's own files, or from `getent` for those that are kept elsewhere.
fn account(database: &str, name: &str) -> Result<u32, String> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)).flatten()?.parse().ok()
    };
    let file = std::fs::read_to_string(format!("/etc/{database}")).unwrap_or_default();
    let asked = || {
        if name.starts_with('-') {
            return None;
        }
        Directory::default().line(database, name)?.lines().find_map(number)
    };
    let kind = if database == "passwd" { "user" } else { "group" };
    file.lines().find_map(number).or_else(asked).ok_or_else(|| {
        format!("there is no {kind} `{name}` on this host; create it first (a BeforeInstall hook may do so)")
    })
}

fn is_default(acl: &str) -> bool {
    acl.starts_with("d:") || acl.starts_with("default:")
}

fn is_program(name: &str) -> bool {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().any(|dir| Path::new(dir).join(name).is_file())
}

/// Sets what only other programs can set. They get the opened file, so that no link can lead them elsewhere.
pub(super) fn label(file: &File, labels: &Labels) -> io::Result<()> {
    if !labels.acls.is_empty() {
        run(file, "setfacl", &["-m".to_owned(), labels.acls.join(",")])?;
    }
    if !labels.context.is_empty() {
        run(file, "chcon", &labels.context)?;
    }
    Ok(())
}

fn run(file: &File, program: &str, arguments: &[String]) -> io::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .arg("/proc/self/fd/0")
        .stdin(file.try_clone()?)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{program} {}: {said}", arguments.join(" "))))
}
