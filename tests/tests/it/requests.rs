//! What a deployment may ask of the world is listed where it is defined, in the table beside that, and where it is performed;
//! a new request must not have to be added anywhere else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::house::root;

const REQUESTS: &str = "shared/engine/src/deployment/request.rs";
const TABLE: &str = "shared/engine/src/deployment/traits.rs";
/// Most of them are performed by one role, and a few by others.
const PERFORMER: &str = "shared/control/src/traffic_evaluator/mod.rs";

/// The names of all requests.
fn requests() -> Vec<String> {
    let text = fs::read_to_string(root().join(REQUESTS)).unwrap();
    let (_, after) = text.split_once("pub enum Request {").unwrap();
    let (body, _) = after.split_once("\n}").unwrap();
    let name = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let name: String = line.chars().take_while(char::is_ascii_alphanumeric).collect();
        name.starts_with(|first: char| first.is_ascii_uppercase()).then_some(name)
    };
    body.lines().filter_map(name).collect()
}

/// The Rust files below a folder, but for those of tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["target", "tests", "examples"].contains(&name) {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// Whether a file names a request, and not one whose name only begins so.
fn names(text: &str, request: &str) -> bool {
    let named = format!("Request::{request}");
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric());
    text.match_indices(&named).any(|(at, _)| ends(&text[at + named.len()..]))
}

#[test]
fn requests_are_listed_in_the_table_and_where_they_are_performed() {
    let all = requests();
    assert!(all.len() >= 14 && all.contains(&"Dispatch".to_owned()), "{all:?}");
    let mut files = Vec::new();
    for folder in ["shared", "functions", "cli", "runner"] {
        sources(&root().join(folder), &mut files);
    }
    let lists = |path: &&PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        all.iter().filter(|request| names(&text, request)).count() > all.len() / 2
    };
    let mut listing: Vec<_> = files
        .iter()
        .filter(lists)
        .map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap())
        .collect();
    listing.sort_unstable();
    assert_eq!(listing, [PERFORMER, TABLE]);
}

/// The structs of a file, each with how many ports it holds.
fn ports_of(text: &str) -> Vec<(String, usize)> {
    let structs = text.split("\npub struct ").skip(1);
    let body = |rest: &str| {
        let (name, body) = rest.split_once(" {\n")?;
        let (fields, _) = body.split_once("\n}")?;
        let name = name.chars().all(|c| c.is_ascii_alphanumeric()).then(|| name.to_owned())?;
        Some((name, fields.matches("Arc<dyn ").count()))
    };
    structs.filter_map(body).collect()
}

#[test]
fn a_role_has_few_ports_and_none_holds_all_roles() {
    let mut files = Vec::new();
    sources(&root().join("shared/control/src"), &mut files);
    let mut most = BTreeMap::new();
    for path in &files {
        most.extend(ports_of(&fs::read_to_string(path).unwrap()));
    }
    for role in ["Base", "HostApi", "OperatorApi", "RevisionIntake", "HookDispatcher"] {
        assert!((1..=6).contains(&most[role]), "{role} has {} ports", most[role]);
    }
    let many: Vec<_> = most.iter().filter(|(_, ports)| **ports > 6).collect();
    assert!(many.is_empty(), "split what they do: {many:?}");
    let holds_control = |path: &&PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.contains("Box<Control>") || text.contains("Arc<Control>")
    };
    let holders: Vec<_> = files.iter().filter(holds_control).collect();
    assert!(holders.is_empty(), "a role holds all roles: {holders:?}");
}
