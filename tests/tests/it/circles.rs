//! Files of a crate stand above one another: none uses another that uses it, directly or by way of others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::house::{metadata, root};
use crate::support::modules::Modules;

/// The circles that are still there, each with its files. Files go from here, and none comes: a file that is in no circle
/// any more has to be struck.
const STILL_THERE: &[(&str, &[&str])] = &[(
    "shared/sim/src",
    &[
        "aliases.rs",
        "bundles.rs",
        "capacity.rs",
        "checks.rs",
        "clock.rs",
        "cloud.rs",
        "contents.rs",
        "copies.rs",
        "core.rs",
        "dispatch_checks.rs",
        "exchange.rs",
        "fleet.rs",
        "function_checks.rs",
        "functions.rs",
        "hook_functions.rs",
        "ports.rs",
        "rollback_checks.rs",
        "rule.rs",
        "runner.rs",
        "service_checks.rs",
        "services.rs",
        "shift.rs",
        "stops.rs",
        "story.rs",
        "task_sets.rs",
        "traffic.rs",
        "world.rs",
        "zones.rs",
    ],
)];

/// What each file of a crate uses of the crate's others.
type Uses = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

/// The crates of the workspace by the root files of their libraries and programs.
fn crates() -> Vec<PathBuf> {
    let of_tests = |target: &cargo_metadata::Target| {
        target.is_test() || target.is_bench() || target.is_example() || target.is_custom_build()
    };
    let metadata = metadata();
    let targets = metadata.workspace_packages().into_iter().flat_map(|package| &package.targets);
    targets
        .filter(|target| !of_tests(target))
        .map(|target| target.src_path.clone().into_std_path_buf())
        .collect()
}

/// Everything that is used from a file on.
fn reached<'u>(uses: &'u Uses, from: &Path) -> BTreeSet<&'u Path> {
    let mut reached = BTreeSet::new();
    let mut open = vec![&uses[from]];
    while let Some(used) = open.pop() {
        let new = used.keys().filter(|file| reached.insert(file.as_path()));
        open.extend(new.map(|file| &uses[file]));
    }
    reached
}

/// The circles of a crate, each as large as it is.
fn circles(uses: &Uses) -> Vec<BTreeSet<&Path>> {
    let reached: BTreeMap<&Path, _> =
        uses.keys().map(|file| (file.as_path(), reached(uses, file))).collect();
    let mut circles: Vec<BTreeSet<&Path>> = Vec::new();
    for (file, others) in &reached {
        let is_known = circles.iter().any(|circle| circle.contains(file));
        if others.contains(file) && !is_known {
            circles.push(others.iter().filter(|it| reached[*it].contains(file)).copied().collect());
        }
    }
    circles
}

/// What ties a circle, a line for each use of one of its files by another.
fn ties(uses: &Uses, circle: &BTreeSet<&Path>) -> String {
    let short = |file: &Path| file.strip_prefix(root()).unwrap_or(file).display().to_string();
    let mut lines = String::new();
    for file in circle {
        for (used, path) in uses[*file].iter().filter(|(used, _)| circle.contains(used.as_path())) {
            lines += &format!("  {} uses {}: `{path}`\n", short(file), short(used));
        }
    }
    lines
}

#[test]
fn files_of_a_crate_do_not_use_each_other_in_a_circle() {
    let root = root();
    let allowed: Vec<BTreeSet<PathBuf>> = STILL_THERE
        .iter()
        .map(|(dir, files)| files.iter().map(|file| root.join(dir).join(file)).collect())
        .collect();
    let mut left: BTreeSet<&PathBuf> = allowed.iter().flatten().collect();
    let mut read = 0;
    for uses in crates().iter().map(|root| Modules::of(root).uses()) {
        read += uses.len();
        for circle in circles(&uses) {
            let is_allowed =
                allowed.iter().any(|files| circle.iter().all(|file| files.contains(*file)));
            assert!(
                is_allowed,
                "a circle: move what both sides need into a file below them\n{}",
                ties(&uses, &circle)
            );
            left.retain(|file| !circle.contains(file.as_path()));
        }
    }
    assert!(read > 300, "only {read} files were read");
    assert!(left.is_empty(), "in no circle any more, so strike them from the list here: {left:#?}");
}

#[test]
fn what_runs_the_events_of_a_command_knows_nothing_of_who_ordered_them() {
    let runner = root().join("runner/src");
    let uses = Modules::of(&runner.join("lib.rs")).uses();
    for file in ["work.rs", "events.rs", "steps.rs", "hooks.rs", "archive.rs", "install/mod.rs"] {
        let known = reached(&uses, &runner.join(file));
        let of_servers = |file: &&Path| {
            file.starts_with(runner.join("remote"))
                || ["client.rs", "http.rs", "agent.rs", "push.rs", "command.rs"]
                    .iter()
                    .any(|name| *file == runner.join(name))
        };
        let named: Vec<_> = known.into_iter().filter(of_servers).collect();
        assert!(named.is_empty(), "`{file}` leads to {named:?}");
    }
    let remote = reached(&uses, &runner.join("remote/mod.rs"));
    assert!(remote.contains(runner.join("orders.rs").as_path()), "the walk went nowhere");
}

/// The circles of a crate of these files.
fn found_in(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let uses = Modules::of(&dir.path().join("lib.rs")).uses();
    let name = |file: &&Path| file.strip_prefix(dir.path()).unwrap().display().to_string();
    circles(&uses).iter().map(|circle| circle.iter().map(name).collect()).collect()
}

#[test]
fn a_circle_is_found_by_imports_by_paths_and_through_what_a_parent_hands_on() {
    let none = Vec::<Vec<String>>::new();
    let lib = "pub mod a;\nmod b;\npub use b::{B, unused as other};\n";
    let b = "pub struct B;\npub fn unused() {}\n";
    let twice = [("lib.rs", lib), ("a.rs", "use crate::B;\npub struct A(B);"), ("b.rs", b)];
    assert_eq!(found_in(&twice), none, "a parent that only hands on is in no circle");

    let both = |b| found_in(&[twice[0], twice[1], ("b.rs", b)]);
    let circle = vec![vec!["a.rs".to_owned(), "b.rs".to_owned()]];
    assert_eq!(both("pub struct B(Option<Box<super::a::A>>);"), circle, "by a path");
    assert_eq!(both("use crate::a::{self, A as Other};\npub struct B(Other);"), circle);
    assert_eq!(both("use crate::a;\npub type B = a::A;"), circle, "by way of its module");
    assert_eq!(both("use crate::a::*;\npub type B = A;"), circle, "by a glob");
    assert_eq!(both("pub struct B;\npub fn f() { vec![crate::a::A(B)]; }"), circle, "in a macro");
    assert_eq!(both("pub struct B;\n#[cfg(test)]\nmod tests { use crate::a::A; }"), none);
    assert_eq!(both("pub struct B; // crate::a::A\nconst S: &str = \"crate::a::A\";"), none);
    assert_eq!(both("pub struct B;\nconst C: char = '\"'; fn f<'a>(_: &'a str) {}\n"), none);
    let crate_of_that_name = [
        ("lib.rs", "mod a;\npub use a::b;\npub struct S;\nfn f() { b::of_another_crate() }"),
        ("a.rs", "use crate::S;\npub fn b(_: S) {}"),
    ];
    assert_eq!(found_in(&crate_of_that_name), none, "a function is no place for others");
}

#[test]
fn a_child_that_uses_what_its_parent_defines_is_in_a_circle_with_it_if_the_parent_uses_the_child() {
    let child = ("p/child.rs", "use super::Defined;\npub struct Child(Defined);");
    let parent = |text| found_in(&[("lib.rs", "mod p;"), ("p/mod.rs", text), child]);
    let circle = vec![vec!["p/child.rs".to_owned(), "p/mod.rs".to_owned()]];
    assert!(parent("mod child;\npub use child::Child;\npub struct Defined;").is_empty());
    assert_eq!(parent("mod child;\npub struct Defined;\nfn f(_: child::Child) {}"), circle);
    let uses_what_it_hands_on =
        "mod child;\npub use child::Child;\npub struct Defined;\nfn f(_: Child) {}";
    assert_eq!(parent(uses_what_it_hands_on), circle);
    assert!(
        parent(
            "mod child;\npub use other::Defined;\nfn f(_: child::Child) {}\nmod other { pub struct Defined; }"
        ) == circle,
        "an inline module is part of its file"
    );
}
