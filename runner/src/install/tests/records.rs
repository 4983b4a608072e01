//! What the group's directory says of installs, also where another runner or nobody can have written it.

use serde_json::{Value, json};

use super::faults::Case;
use super::*;

#[test]
fn a_damaged_record_of_the_group_is_an_error_that_names_it_and_changes_nothing() {
    let world = World::new();
    let bundle = world.bundle("first", &[("a", "1")]);
    world.install(&bundle, WHOLE);
    let old = world.snapshot();
    for name in [state::INSTALLED, state::PREVIOUS, state::JOURNAL] {
        let path = world.group().join(name);
        let before = fs::read(&path).ok();
        fs::write(&path, "{").unwrap();
        let error = world.plan(&bundle, WHOLE, Disallow).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(error.contains("move the file away"), "{error}");
        match before {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    assert_eq!(world.snapshot(), old);
    world.install(&bundle, WHOLE);
}

/// A switch as the first runners have written and begun it: they gave what they removed a second name before, removed
/// directories for good, and changed directories that were there.
struct Early {
    world: World,
    journal: Value,
}

/// A directory that is there in both revisions.
const CHANGED: &str = "srv/app/linked";

impl Early {
    fn new() -> Self {
        let begun = |call| {
            let case = Case::new();
            let journal = case.begun(call)?;
            Some((case.world, journal))
        };
        let (mut world, journal) = (0..).find_map(begun).unwrap();
        world.disk = Disk::default();
        let mut early = Self { world, journal };
        early.rewrite();
        early
    }

    fn rewrite(&mut self) {
        self.journal.as_object_mut().unwrap().remove("again");
        let steps = self.journal["steps"].as_array_mut().unwrap();
        for step in steps.iter_mut() {
            let at = |path: &Value| self.world.at(path.as_str().unwrap());
            if let Some(remove) = step.get("Remove") {
                fs::hard_link(at(&remove["path"]), at(&remove["old"])).unwrap();
            } else if let Some(rmdir) = step.get_mut("Rmdir") {
                let meta = meta(&at(&rmdir["path"]), None);
                *rmdir = json!({"path": rmdir["path"], "meta": meta});
            }
        }
        let first = steps.iter().position(|step| step.get("Place").is_some()).unwrap();
        let changed = self.world.at(CHANGED);
        let change = json!({
            "path": CHANGED,
            "from": meta(&changed, None),
            "to": meta(&changed, Some(0o711)),
            "labels": {"acls": [], "context": []},
        });
        steps.insert(first, json!({"Change": change}));
    }

    /// Does the first `count` steps; false if there are no more.
    fn switch(&self, count: usize) -> bool {
        let steps = self.journal["steps"].as_array().unwrap();
        for step in steps.iter().take(count) {
            let (kind, step) = step.as_object().unwrap().iter().next().unwrap();
            let path = self.world.at(step["path"].as_str().unwrap());
            match kind.as_str() {
                "Remove" => fs::remove_file(path).unwrap(),
                "Rmdir" => fs::remove_dir(path).unwrap(),
                "Mkdir" => {
                    fs::create_dir(&path).unwrap();
                    set_mode(&path, &step["meta"]["mode"]);
                }
                "Change" => set_mode(&path, &step["to"]["mode"]),
                "Place" => {
                    fs::rename(self.world.at(step["new"].as_str().unwrap()), path).unwrap();
                }
                other => panic!("{other}"),
            }
        }
        count < steps.len()
    }

    fn write(&mut self, phase: &str) {
        self.journal["phase"] = phase.into();
        let path = self.world.group().join(state::JOURNAL);
        fs::write(path, serde_json::to_vec(&self.journal).unwrap()).unwrap();
    }
}

fn set_mode(path: &Path, mode: &Value) {
    let mode = u32::try_from(mode.as_u64().unwrap()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn meta(path: &Path, mode: Option<u32>) -> Value {
    let meta = fs::symlink_metadata(path).unwrap();
    let mode = mode.unwrap_or_else(|| meta.mode() & 0o7777);
    json!({"mode": mode, "uid": meta.uid(), "gid": meta.gid()})
}

#[test]
fn a_switch_that_one_of_the_first_runners_began_is_completed_or_undone() {
    let trees = Case::old_and_new();
    for (phase, recovery, which, changed) in
        [("Switching", Recovery::New, 1, 0o711), ("Undoing", Recovery::Old, 0, 0o755)]
    {
        for count in 0.. {
            let mut early = Early::new();
            let is_more = early.switch(count);
            early.write(phase);
            assert_eq!(early.world.recover().unwrap(), recovery, "{phase} after {count}");
            let mode = fs::metadata(early.world.at(CHANGED)).unwrap().mode() & 0o777;
            assert_eq!(mode, changed, "{phase} after {count}");
            let (mut found, mut expected) = (early.world.snapshot(), trees[which].clone());
            for tree in [&mut found, &mut expected] {
                tree.remove(CHANGED);
            }
            assert_eq!(found, expected, "{phase} after {count}");
            assert_eq!(early.world.recover().unwrap(), Recovery::Nothing);
            if !is_more {
                break;
            }
        }
    }
}
