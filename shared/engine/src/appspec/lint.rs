//! What a careful author of an AppSpec file wants to know before a host does: every error at once, and what is allowed
//! but most likely not meant. Nothing is judged that needs the bundle or the host (`docs/semantics.md#appspec`).

use super::document::Document;
use super::findings::{Finding, Findings, Severity, check_variable, nodes, text};
use super::scalar::Kind;
use super::yaml::{Entry, Map, Node, Value, excerpt};
use super::{AppSpec, AppSpecError, EventName, Os, Position, lint_permissions, parse};

/// Seconds that the scripts of an event may take together.
const EVENT_TIMEOUT_MAX_S: u64 = 3600;

const TOP_KEYS: [&str; 6] =
    ["version", "os", "files", "file_exists_behavior", "permissions", "hooks"];
const FILE_KEYS: [&str; 2] = ["source", "destination"];
const SCRIPT_KEYS: [&str; 4] = ["location", "timeout", "runas", "sudo"];

/// Reads an AppSpec file as a Linux host would and tells all that is wrong or doubtful, in the order of the file.
pub fn lint(text: &[u8]) -> Vec<Finding> {
    let reading = parse::read(text);
    let mut findings = Findings::default();
    let os = reading.spec.check_os(Os::Linux).err();
    for error in reading.errors.into_iter().chain(os).chain(reading.spec.misspelt_events()) {
        let AppSpecError { message, position } = error;
        findings.list.push(Finding { severity: Severity::Error, message, position });
    }
    if let Some(Document { root: Some(root), second }) = &reading.document {
        if let Some(second) = second {
            findings.warn(*second, "the AppSpec ends here and the rest is not read; remove what follows, or mend its indentation".to_owned());
        }
        check_replaced(root, &mut findings);
        if let Some(top) = root.as_map() {
            check_top(top, root.position, &mut findings);
            check_hooks(top, &reading.spec, &mut findings);
            lint_permissions::check(top, &reading.spec, &mut findings);
        }
    }
    findings.list.sort_by_key(|finding| (finding.position, finding.severity));
    findings.list
}

/// Warns of every entry that a later one with the same key replaces.
fn check_replaced(root: &Node, findings: &mut Findings) {
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        match &node.value {
            Value::Scalar(_) => {}
            Value::List(nodes) => open.extend(nodes),
            Value::Map(map) => {
                for (Entry { key, .. }, by) in &map.replaced {
                    let name = excerpt(key.as_text().unwrap_or_default());
                    findings.warn(key.position, format!("`{name}` is given again in line {}, which replaces this one; merge the two", by.line));
                }
                open.extend(map.entries.iter().map(|entry| &entry.value));
            }
        }
    }
}

fn check_top(top: &Map, start: Position, findings: &mut Findings) {
    findings.check_keys(top, &TOP_KEYS, "an AppSpec file for hosts");
    let files = nodes(top, "files");
    if files.is_empty() && top.get("hooks").is_none_or(|entry| entry.value.is_falsy()) {
        findings.warn(
            start,
            "the file installs nothing and runs nothing; add `files` or `hooks`".to_owned(),
        );
    }
    for map in files.iter().filter_map(Node::as_map) {
        findings.check_keys(map, &FILE_KEYS, "an entry of `files`");
        for key in FILE_KEYS {
            check_variable(map, key, findings);
        }
        if let Some((source, position)) = text(map, "source") {
            if source.split(['/', '\\']).any(|part| part == "..") {
                findings.warn(
                    position,
                    format!("`{}` leads out of the bundle; name a path inside it", excerpt(source)),
                );
            }
            if source.contains(['*', '?']) {
                findings.warn(
                    position,
                    format!(
                        "`{}` is taken literally, not as a pattern; name the directory",
                        excerpt(source)
                    ),
                );
            }
        }
    }
}

fn check_hooks(top: &Map, spec: &AppSpec, findings: &mut Findings) {
    let Some(hooks) = top.get("hooks").and_then(|entry| entry.value.as_map()) else { return };
    for Entry { key, value } in &hooks.entries {
        let Some(name) = key.as_scalar().map(|scalar| scalar.text.as_str()) else { continue };
        match EventName::of(name) {
            EventName::Known(_) => {}
            // With scripts it is an error already.
            EventName::Misspelt(_) if spec.hooks.contains_key(name) => {}
            EventName::WithoutScripts(event) => findings.warn(
                key.position,
                format!("`{event}` runs no scripts; attach them to the event before or after it"),
            ),
            EventName::Misspelt(_) | EventName::Unknown => findings.warn(
                key.position,
                format!(
                    "`{}` is not a lifecycle event of hosts, so its scripts never run in a deployment; remove it, or correct its name",
                    excerpt(name)
                ),
            ),
        }
        if value.is_null() {
            findings.warn(key.position, format!("`{}` has no scripts; remove it", excerpt(name)));
        }
        let sum = spec
            .hooks
            .get(name)
            .into_iter()
            .flatten()
            .map(|script| script.timeout_s)
            .fold(0, u64::saturating_add);
        if sum > EVENT_TIMEOUT_MAX_S {
            findings.warn(key.position, format!("the scripts of `{}` may take {sum} seconds together, but an event ends after {EVENT_TIMEOUT_MAX_S}; set `timeout` so that they fit, it is 3600 where not set", excerpt(name)));
        }
        let Value::List(scripts) = &value.value else { continue };
        for map in scripts.iter().filter_map(Node::as_map) {
            check_script(map, findings);
        }
    }
}

fn check_script(map: &Map, findings: &mut Findings) {
    findings.check_keys(map, &SCRIPT_KEYS, "a script");
    check_variable(map, "location", findings);
    if let Some((location, position)) = text(map, "location") {
        let location = location.trim();
        if location.contains(char::is_whitespace) {
            findings.warn(position, format!("`{}` is taken as one path; a script gets no arguments, and the official agent runs none with a space in its path", excerpt(location)));
        }
        if location.split('/').any(|part| part == "..") {
            findings.warn(
                position,
                format!("`{}` leads out of the bundle; name a script inside it", excerpt(location)),
            );
        }
    }
    if let Some(Entry { value, .. }) = map.get("timeout")
        && let Some(scalar) = value.as_scalar()
    {
        let plain = |number: &str| number.trim() == scalar.text.trim();
        match scalar.kind {
            Kind::Int(number) if !plain(&number.to_string()) => {
                findings.warn(
                    value.position,
                    format!(
                        "`{}` is the number {number} in YAML; write it as a decimal number",
                        excerpt(&scalar.text)
                    ),
                );
            }
            Kind::Text if !scalar.text.trim().chars().all(|c| c.is_ascii_digit()) => {
                findings.warn(
                    value.position,
                    format!(
                        "only the number at the start of `{}` counts; write the seconds",
                        excerpt(&scalar.text)
                    ),
                );
            }
            Kind::Int(_)
            | Kind::Text
            | Kind::Null
            | Kind::Bool(_)
            | Kind::Float(_)
            | Kind::Symbol
            | Kind::Timestamp => {}
        }
    }
    if let Some(Entry { value, .. }) = map.get("sudo")
        && !value
            .as_scalar()
            .is_some_and(|scalar| matches!(scalar.kind, Kind::Bool(_) | Kind::Null))
    {
        findings.warn(
            value.position,
            format!("`sudo` is {}, which counts as true; write true or false", value.describe()),
        );
    }
    if let Some((runas, position)) = text(map, "runas")
        && runas.trim().is_empty()
    {
        findings.warn(
            position,
            "`runas` is empty, so the script runs as the agent's user; name a user or remove it"
                .to_owned(),
        );
    }
}
