//! The house as ARCHITECTURE.md draws it: which crate may depend on which, and what keeps the tree tidy.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What each crate may use of ours. Arrows point upwards only.
const MAY_USE: [(&str, &[&str]); 19] = [
    ("engine", &[]),
    ("wire", &["engine"]),
    ("bundle", &["engine"]),
    ("durable", &[]),
    ("control", &["engine", "wire"]),
    ("api", &["engine", "wire", "control"]),
    ("store", &["engine", "bundle", "control"]),
    ("aws", &["engine", "wire", "control"]),
    ("sim", &["engine", "wire", "control"]),
    ("runner", &["engine", "wire", "bundle", "durable"]),
    ("serve", &[]),
    ("balancer", &["engine", "wire", "control", "durable", "serve"]),
    ("object_store", &["durable", "serve"]),
    (
        "local",
        &[
            "engine",
            "wire",
            "control",
            "durable",
            "api",
            "store",
            "serve",
            "balancer",
            "object_store",
        ],
    ),
    ("cutover", &["engine", "wire", "bundle", "durable", "serve", "balancer", "local", "runner"]),
    ("functions", &["engine", "wire", "control", "api", "store", "aws"]),
    ("behaviour", &[]),
    ("whole", &["functions"]),
    ("xtask", &[]),
];

/// What cargo knows of the workspace.
pub(crate) fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().unwrap()
}

/// The normal dependencies of each member.
fn uses(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let normal = |kind: DependencyKind| kind == DependencyKind::Normal;
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let names = package
                .dependencies
                .iter()
                .filter(|used| normal(used.kind))
                .map(|used| used.name.clone());
            (package.name.to_string(), names.collect())
        })
        .collect()
}

#[test]
fn dependencies_point_upwards_only() {
    let metadata = metadata();
    let uses = uses(&metadata);
    let ours: BTreeSet<&str> = MAY_USE.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        uses.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        ours,
        "each member has its line here"
    );
    for (name, allowed) in MAY_USE {
        let used: BTreeSet<&str> =
            uses[name].iter().map(String::as_str).filter(|used| ours.contains(used)).collect();
        let surplus: Vec<_> =
            used.difference(&allowed.iter().copied().collect()).copied().collect();
        assert!(surplus.is_empty(), "`{name}` must not use {surplus:?}");
    }
}

#[test]
fn only_the_adapters_use_an_sdk_and_the_engine_uses_no_runtime() {
    for (name, used) in uses(&metadata()) {
        let sdks: Vec<_> = used
            .iter()
            .filter(|used| used.starts_with("aws-sdk-") || *used == "aws-config")
            .collect();
        let may = match name.as_str() {
            "store" | "aws" | "functions" => true,
            // `connect` asks CloudFormation; `aws-config` finds the user's keys.
            "cutover" => sdks == ["aws-config", "aws-sdk-cloudformation"],
            _ => sdks.is_empty(),
        };
        assert!(may, "`{name}` uses {sdks:?}");
        let pure = ["engine", "wire"].contains(&name.as_str());
        let runtimes: Vec<_> = used
            .iter()
            .filter(|used| ["tokio", "reqwest", "axum"].contains(&used.as_str()))
            .collect();
        assert!(!pure || runtimes.is_empty(), "`{name}` uses {runtimes:?}");
    }
}

#[test]
fn of_the_command_line_only_connect_calls_an_sdk() {
    let cli = root().join("cli/src");
    let calling: Vec<_> = files()
        .into_iter()
        .filter(|path| path.starts_with(&cli) && is(path, "rs"))
        .filter(|path| fs::read_to_string(path).unwrap().contains("aws_sdk_"))
        .collect();
    assert_eq!(calling, [cli.join("commands/connect.rs")]);
}

#[test]
fn home_never_compiles_the_ec2_sdk() {
    let metadata = metadata();
    let resolve = metadata.resolve.as_ref().unwrap();
    let name_of = |id: &cargo_metadata::PackageId| metadata[id].name.to_string();
    let mut open: Vec<_> = resolve
        .nodes
        .iter()
        .filter(|node| name_of(&node.id) == "cutover")
        .map(|node| node.id.clone())
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| node.id == id).unwrap();
        let compiled = |dep: &&cargo_metadata::NodeDep| {
            dep.dep_kinds.iter().any(|k| k.kind != DependencyKind::Development)
        };
        open.extend(node.deps.iter().filter(compiled).map(|dep| dep.pkg.clone()));
    }
    let names: BTreeSet<String> = seen.iter().map(name_of).collect();
    assert!(names.contains("local") && names.contains("aws-sdk-s3"), "the walk went nowhere");
    for banned in ["aws", "aws-sdk-ec2", "openssl-sys", "aws-lc-sys", "aws-lc-rs"] {
        assert!(!names.contains(banned), "home compiles `{banned}`");
    }
}

#[test]
fn every_member_takes_the_lints_of_the_workspace() {
    for package in metadata().workspace_packages() {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", package.manifest_path);
    }
}

/// The files of the project: those that git knows, or could.
fn files() -> Vec<PathBuf> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the project's files");
    let names = String::from_utf8(listed.stdout).unwrap();
    names.lines().map(|name| root().join(name)).filter(|path| path.is_file()).collect()
}

fn is(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

#[test]
fn no_file_is_too_long_to_be_read() {
    for path in files().iter().filter(|path| is(path, "rs")) {
        let lines = fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= 700, "{} has {lines} lines: split it by subject", path.display());
    }
    let words =
        fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap().split_whitespace().count();
    assert!(words <= 2_200, "ARCHITECTURE.md has {words} words");
}

#[test]
fn every_rule_that_code_points_to_is_written_down() {
    let semantics = fs::read_to_string(root().join("docs/semantics.md")).unwrap();
    let headings = semantics.lines().filter_map(|line| line.strip_prefix("## "));
    let sections: BTreeSet<String> =
        headings.map(|heading| heading.to_lowercase().replace(' ', "-")).collect();
    for path in files().iter().filter(|path| is(path, "rs")) {
        let text = fs::read_to_string(path).unwrap();
        for pointed in text.split("docs/semantics.md#").skip(1) {
            let name: String =
                pointed.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            let known = name.is_empty() || sections.contains(&name);
            assert!(known, "{} points to `docs/semantics.md#{name}`", path.display());
        }
    }
}
