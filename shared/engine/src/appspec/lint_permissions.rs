//! The part of the lint that is about `permissions` (`docs/semantics.md#appspec`).

use std::collections::{BTreeMap, BTreeSet};

use super::findings::{Findings, check_variable, nodes, text};
use super::scalar::Kind;
use super::yaml::{Entry, Map, Node, excerpt};
use super::{AppSpec, Position};

const PERMISSION_KEYS: [&str; 9] =
    ["object", "pattern", "except", "type", "owner", "group", "mode", "acls", "context"];
const CONTEXT_KEYS: [&str; 3] = ["name", "type", "range"];

pub(super) fn check(top: &Map, spec: &AppSpec, findings: &mut Findings) {
    let mut seen = BTreeMap::new();
    let absolute = spec
        .files
        .iter()
        .map(|file| file.destination.as_str())
        .filter(|path| path.starts_with('/'));
    let destinations: BTreeSet<Vec<&str>> = absolute.map(parts).collect();
    let all_absolute = spec.files.iter().all(|file| file.destination.starts_with('/'));
    for map in nodes(top, "permissions").iter().filter_map(Node::as_map) {
        check_keys(map, findings);
        check_variable(map, "object", findings);
        check_mode(map, findings);
        check_patterns(map, findings);
        check_object(map, all_absolute.then_some(&destinations), findings);
        check_twice(map, &mut seen, findings);
        if let Some(Entry { value, .. }) = map.get("type")
            && value.as_scalar().is_none()
            && nodes(map, "type").is_empty()
        {
            findings.warn(
                value.position,
                "`type` is empty, so the entry applies to nothing; name `file` or `directory`"
                    .to_owned(),
            );
        }
    }
}

/// Warns of keys that are not read.
fn check_keys(map: &Map, findings: &mut Findings) {
    findings.check_keys(map, &PERMISSION_KEYS, "an entry of `permissions`");
    if let Some(context) = map.get("context").and_then(|entry| entry.value.as_map()) {
        findings.check_keys(context, &CONTEXT_KEYS, "a context");
    }
}

fn check_mode(map: &Map, findings: &mut Findings) {
    let Some(Entry { value, .. }) = map.get("mode") else { return };
    let Some(scalar) = value.as_scalar() else { return };
    let Kind::Int(number) = scalar.kind else { return };
    let is_mode = super::permission::mode_of(&number.to_string()).is_some();
    if is_mode && number.to_string() != scalar.text {
        let text = excerpt(&scalar.text);
        findings.warn(value.position, format!("`{text}` without quotes is the octal number {number} in YAML, so the mode is {number:0>4}; put it in quotes: \"{text}\""));
    }
}

fn check_patterns(map: &Map, findings: &mut Findings) {
    let pattern = text(map, "pattern").filter(|(pattern, _)| *pattern != "**");
    let excepts =
        nodes(map, "except").iter().filter_map(|node| Some((node.as_text()?, node.position)));
    for (pattern, position) in pattern.into_iter().chain(excepts) {
        let shown = excerpt(pattern);
        if pattern.is_empty() || pattern.contains('/') {
            findings.warn(position, format!("`{shown}` matches nothing, for a pattern is compared with the names directly in the object; make the directory an `object`"));
        } else if pattern.contains(['?', '[']) {
            findings.warn(
                position,
                format!(
                    "only `*` is special in a pattern; the rest of `{shown}` is taken literally"
                ),
            );
        }
    }
}

/// Checks the object's path, against the destinations if all of them are known.
fn check_object(map: &Map, destinations: Option<&BTreeSet<Vec<&str>>>, findings: &mut Findings) {
    let Some((object, position)) = text(map, "object") else { return };
    let object = object.trim();
    if !object.starts_with('/') {
        let object = excerpt(object);
        findings.warn(
            position,
            format!("`{object}` is relative to where the agent happens to run; start it with `/`"),
        );
        return;
    }
    let object_parts = parts(object);
    // An object above a destination applies to what is installed there, too.
    let reached = destinations.is_none_or(|destinations| {
        let below = destinations.range(object_parts.clone()..).next();
        let above = (0..=object_parts.len()).filter_map(|end| object_parts.get(..end));
        below.is_some_and(|below| below.starts_with(&object_parts))
            || above.into_iter().any(|above| destinations.contains(above))
    });
    if !reached {
        findings.warn(position, format!("`{}` is under none of the destinations, and permissions apply only to what the deployment installs; correct the path", excerpt(object)));
    }
}

/// The names in a path, without those that change nothing.
fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts
}

/// Warns of an entry for the same targets as an earlier one: a target that is matched twice fails the deployment.
fn check_twice(
    map: &Map,
    seen: &mut BTreeMap<(String, String, &'static str), Position>,
    findings: &mut Findings,
) {
    let Some((object, position)) = text(map, "object") else { return };
    let pattern = text(map, "pattern").map_or("**", |(pattern, _)| pattern);
    let types = nodes(map, "type");
    for kind in ["file", "directory"] {
        if !types.is_empty() && !types.iter().any(|node| node.as_text() == Some(kind)) {
            continue;
        }
        let target = (parts(object.trim()).join("/"), pattern.to_owned(), kind);
        if let Some(before) = seen.insert(target, position) {
            findings.warn(position, format!("the entry in line {} is for the same {kind} targets, and a target that two entries match fails the deployment; merge the two", before.line));
            return;
        }
    }
}
