//! What a lint finds, and what its parts look for alike.

use super::error::{located, suggestion};
use super::nearest::nearest;
use super::position::Position;
use super::yaml::{Entry, Map, Node, Value, excerpt};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A Linux host refuses the file.
    Error,
    /// The file is accepted and does, most likely, not what was meant.
    Warning,
}

/// One thing that the lint found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is and what to do about it, as a lower-case fragment.
    pub message: String,
    /// Where, if it has a place.
    pub position: Option<Position>,
}

impl Finding {
    /// The finding as `appspec.yml:LINE:COLUMN: error: message`, with the given file name.
    pub fn in_file(&self, file: &str) -> String {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        located(file, self.position, &format!("{severity}: {}", self.message))
    }
}

/// The findings of one run.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) list: Vec<Finding>,
}

impl Findings {
    pub(super) fn warn(&mut self, position: Position, message: String) {
        self.list.push(Finding { severity: Severity::Warning, message, position: Some(position) });
    }

    /// Warns of every key that is not read.
    pub(super) fn check_keys(&mut self, map: &Map, known: &[&str], what: &str) {
        for Entry { key, .. } in &map.entries {
            let Some(name) = key.as_scalar().map(|scalar| scalar.text.as_str()) else { continue };
            if !known.contains(&name) {
                let hint = hint(name, what).map(str::to_owned).unwrap_or_else(|| {
                    suggestion(&nearest(name, known), "; did you mean", "; remove it")
                });
                self.warn(key.position, format!("`{}` is not read in {what}{hint}", excerpt(name)));
            }
        }
    }
}

/// What to do about a key that people often write in the wrong place.
fn hint(name: &str, what: &str) -> Option<&'static str> {
    match (what, name) {
        ("an entry of `files`", "overwrite" | "file_exists_behavior") => {
            Some("; write `file_exists_behavior: OVERWRITE` at the top level")
        }
        ("an entry of `files`", "owner" | "group" | "mode" | "permissions") => {
            Some("; write an entry of `permissions` at the top level")
        }
        ("a context", "user") => Some("; the SELinux user is called `name`"),
        ("an AppSpec file for hosts", "Resources" | "resources") => {
            Some("; it belongs to Lambda and ECS")
        }
        _ => None,
    }
}

/// Warns of a path with a variable in it: nothing replaces it.
pub(super) fn check_variable(map: &Map, key: &str, findings: &mut Findings) {
    let Some((path, position)) = text(map, key) else { return };
    let begins = |c: char| c == '{' || c == '_' || c.is_ascii_alphabetic();
    if path.split('$').skip(1).any(|rest| rest.starts_with(begins)) {
        let path = excerpt(path);
        findings.warn(
            position,
            format!(
                "`{path}` has a variable in it, which nothing replaces, so `$` is taken literally; write the path out"
            ),
        );
    }
}

/// The items of a list, if it is one.
pub(super) fn nodes<'a>(map: &'a Map, key: &str) -> &'a [Node] {
    match map.get(key).map(|entry| &entry.value.value) {
        Some(Value::List(nodes)) => nodes,
        Some(Value::Map(_) | Value::Scalar(_)) | None => &[],
    }
}

/// A text and its place, if it is one.
pub(super) fn text<'a>(map: &'a Map, key: &str) -> Option<(&'a str, Position)> {
    let value = &map.get(key)?.value;
    Some((value.as_text()?, value.position))
}
