//! From the YAML tree to the types. Every error is collected, so that a user sees all of them at once; what the official
//! agent ignores is ignored here and is a matter of the lint (`docs/semantics.md#appspec`).

use std::collections::BTreeMap;

use super::document::{self, Document};
use super::error::{AppSpecError, Problem, Report};
use super::scalar::{self, Kind};
use super::shape::{given, items, list, mapping, stripped, text, truthy};
use super::yaml::{Entry, Map, Node};
use super::{AppSpec, FileExistsBehavior, FileMapping, Os, Places, Position, Script, permission};

/// Seconds that a script may take if the file does not say.
const TIMEOUT_DEFAULT_S: u64 = 3600;

/// All that one reading of a file found.
pub(super) struct Reading {
    /// What was read; whole only if there are no errors.
    pub(super) spec: AppSpec,
    /// What is wrong, in the order of the file.
    pub(super) errors: Vec<AppSpecError>,
    /// The tree, unless it is not YAML at all.
    pub(super) document: Option<Document>,
}

/// Reads an AppSpec file. One for Windows is read, too: see [`AppSpec::check_os`].
///
/// # Errors
/// The first thing in the file that is wrong, by the rules of the official agent.
pub fn parse(text: &[u8]) -> Result<AppSpec, AppSpecError> {
    let reading = read(text);
    reading.errors.into_iter().next().map_or(Ok(reading.spec), Err)
}

/// Reads a file as far as it can be read.
pub(super) fn read(text: &[u8]) -> Reading {
    let mut report = Report::default();
    let mut spec = AppSpec {
        os: Os::Linux,
        files: Vec::new(),
        file_exists_behavior: None,
        permissions: Vec::new(),
        hooks: BTreeMap::new(),
        places: Places::default(),
    };
    let document = match document::read(text) {
        Ok(document) => Some(document),
        Err(error) => {
            report.errors.push(error);
            None
        }
    };
    if let Some(document) = &document {
        read_top(document, &mut spec, &mut report);
    }
    let mut errors = report.errors;
    errors.sort_by_key(|error| error.position);
    Reading { spec, errors, document }
}

fn read_top(document: &Document, spec: &mut AppSpec, report: &mut Report) {
    let start = Position { line: 1, column: 1 };
    let Some(root) = document.root.as_ref().filter(|root| !root.is_falsy()) else {
        report.add(&Problem::Empty, start);
        return;
    };
    let Some(top) = root.as_map() else {
        report.add(&Problem::NotMapping { found: root.describe() }, root.position);
        return;
    };
    read_version(top, root.position, report);
    if let Some((os, position)) = read_os(top, root.position, report) {
        spec.os = os;
        spec.places.os = Some(position);
    }
    spec.file_exists_behavior = read_file_exists_behavior(top, report);
    for node in list(truthy(top, "files"), "`files`", report) {
        if let Some((mapping, position)) = read_file(node, spec.os, report) {
            spec.files.push(mapping);
            spec.places.sources.push(position);
        }
    }
    read_hooks(top, spec, report);
    for node in list(truthy(top, "permissions"), "`permissions`", report) {
        if let Some(permission) = permission::read(node, spec.os, report) {
            spec.permissions.push(permission);
        }
    }
}

fn read_version(top: &Map, start: Position, report: &mut Report) {
    let Some(entry) = given(top, "version") else {
        report
            .add(&Problem::NoVersion, top.get("version").map_or(start, |entry| entry.key.position));
        return;
    };
    let is_right = match entry.value.as_scalar().map(|scalar| scalar.kind) {
        Some(Kind::Int(value)) => value == 0,
        Some(Kind::Float(value)) => value == 0.0,
        Some(Kind::Null | Kind::Bool(_) | Kind::Symbol | Kind::Timestamp | Kind::Text) | None => {
            false
        }
    };
    if !is_right {
        report.add(&Problem::Version { found: entry.value.describe() }, entry.value.position);
    }
}

fn read_os(top: &Map, start: Position, report: &mut Report) -> Option<(Os, Position)> {
    let Some(entry) = given(top, "os") else {
        let for_hosts = top.get("Resources").or_else(|| top.get("resources")).is_none();
        let problem = if for_hosts { Problem::NoOs } else { Problem::NotForHosts };
        report.add(&problem, top.get("os").map_or(start, |entry| entry.key.position));
        return None;
    };
    match entry.value.as_text() {
        Some("linux") => Some((Os::Linux, entry.value.position)),
        Some("windows") => Some((Os::Windows, entry.value.position)),
        _ => {
            report.add(&Problem::Os { found: entry.value.describe() }, entry.value.position);
            None
        }
    }
}

fn read_file_exists_behavior(top: &Map, report: &mut Report) -> Option<FileExistsBehavior> {
    let entry = given(top, "file_exists_behavior")?;
    match entry.value.as_text() {
        Some("DISALLOW") => Some(FileExistsBehavior::Disallow),
        Some("OVERWRITE") => Some(FileExistsBehavior::Overwrite),
        Some("RETAIN") => Some(FileExistsBehavior::Retain),
        _ => {
            report.add(
                &Problem::FileExistsBehavior { found: entry.value.describe() },
                entry.value.position,
            );
            None
        }
    }
}

fn read_file(node: &Node, os: Os, report: &mut Report) -> Option<(FileMapping, Position)> {
    let map = mapping(node, "an entry of `files`", report)?;
    let source = match given(map, "source") {
        Some(entry) => text(&entry.value, "`source`", report),
        None => {
            report.add(&Problem::NoSource, node.position);
            None
        }
    };
    let destination = match given(map, "destination") {
        Some(entry) => text(&entry.value, "`destination`", report).inspect(|destination| {
            if os == Os::Linux && !is_plain_absolute(destination) {
                let problem = Problem::Destination { found: entry.value.describe() };
                report.add(&problem, entry.value.position);
            }
        }),
        None => {
            report.add(&Problem::NoDestination, node.position);
            None
        }
    };
    let position = given(map, "source").map_or(node.position, |entry| entry.value.position);
    Some((FileMapping { source: source?, destination: destination? }, position))
}

/// Whether hosts know where that is, whatever directory they run in (`docs/semantics.md#appspec`).
fn is_plain_absolute(destination: &str) -> bool {
    destination.starts_with('/') && destination.split('/').all(|name| name != "..")
}

fn read_hooks(top: &Map, spec: &mut AppSpec, report: &mut Report) {
    let Some(hooks) =
        truthy(top, "hooks").and_then(|entry| mapping(&entry.value, "`hooks`", report))
    else {
        return;
    };
    for Entry { key, value } in &hooks.entries {
        let Some(name) = key.as_scalar().map(|scalar| scalar.text.clone()) else {
            report.add(
                &Problem::ExpectedText { what: "the name of an event", found: key.describe() },
                key.position,
            );
            continue;
        };
        if value.is_null() {
            continue;
        }
        let (mut scripts, mut positions) = (Vec::new(), Vec::new());
        for node in items(value, "the scripts of an event", report) {
            if let Some((script, position)) = read_script(node, report) {
                scripts.push(script);
                positions.push(position);
            }
        }
        spec.places.events.insert(name.clone(), key.position);
        spec.places.scripts.insert(name.clone(), positions);
        spec.hooks.insert(name, scripts);
    }
}

fn read_script(node: &Node, report: &mut Report) -> Option<(Script, Position)> {
    let map = mapping(node, "a script", report)?;
    let location = match given(map, "location") {
        Some(entry) => {
            let location = stripped(&entry.value, "`location`", report);
            if location.as_deref() == Some("") {
                report.add(&Problem::NoLocation, entry.value.position);
                None
            } else {
                location.map(|location| (location, entry.value.position))
            }
        }
        None => {
            report.add(&Problem::NoLocation, node.position);
            None
        }
    };
    let timeout_s = truthy(map, "timeout")
        .map_or(Some(TIMEOUT_DEFAULT_S), |entry| read_timeout(&entry.value, report));
    let runas = match given(map, "runas") {
        Some(entry) => {
            Some(stripped(&entry.value, "`runas`", report)?).filter(|user| !user.is_empty())
        }
        None => None,
    };
    let sudo = truthy(map, "sudo").is_some();
    let (location, position) = location?;
    Some((Script { location, timeout_s: timeout_s?, runas, sudo }, position))
}

fn read_timeout(node: &Node, report: &mut Report) -> Option<u64> {
    let seconds = node.as_scalar().and_then(|scalar| match scalar.kind {
        Kind::Int(value) => Some(value),
        Kind::Float(value) => format!("{:.0}", value.trunc()).parse().ok(),
        Kind::Text => Some(scalar::leading_integer(&scalar.text)),
        Kind::Null | Kind::Bool(_) | Kind::Symbol | Kind::Timestamp => None,
    });
    let seconds =
        seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    if seconds.is_none() {
        report.add(&Problem::Timeout { found: node.describe() }, node.position);
    }
    seconds
}
