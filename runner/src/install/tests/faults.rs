//! Installs on a disk that fails, fills up and loses power, and by a runner that dies, at each of their calls.

use std::fs::{File, FileTimes};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use durable::faults::Faults;
use rustix::io::Errno;

use super::*;

/// A host that has the first of two revisions, which differ in everything that can differ.
pub(super) struct Case {
    pub(super) world: World,
    second: (PathBuf, String),
    faults: Arc<Faults>,
}

/// How many files or directories are synced one by one: as many as there are, or so few that all file systems are synced
/// instead.
const LIMITS: [usize; 2] = [500, 2];

impl Case {
    pub(super) fn new() -> Self {
        Self::of(LIMITS[0])
    }

    fn of(sync_each: usize) -> Self {
        let mut world = World::below(in_memory());
        let [first, second] = revisions(&world);
        world.install_once(&first.0, &first.1);
        fs::write(world.at("srv/app/old/dir/by-user"), "mine").unwrap();
        set_times(&world.at("srv/app/old/dir/by-user"));
        let faults = Faults::watch(world.home.path()).unwrap();
        world.disk = faults.disk().with_sync_each(sync_each);
        Self { world, second, faults }
    }

    /// The trees before and after the second revision is installed.
    pub(super) fn old_and_new() -> [Snapshot; 2] {
        let case = Self::new();
        let old = case.world.snapshot();
        case.install().unwrap();
        [old, case.world.snapshot()]
    }

    fn install(&self) -> Result<Outcome, InstallError> {
        self.world.plan(&self.second.0, &self.second.1, Disallow).and_then(perform)
    }

    /// Installs until that call; the journal, if it says that the switch has begun.
    pub(super) fn begun(&self, call: u64) -> Option<serde_json::Value> {
        self.faults.stop_at(call);
        lives(|| self.install().unwrap());
        self.faults.heal();
        let journal = fs::read(self.world.group().join(state::JOURNAL)).ok()?;
        let journal = serde_json::from_slice(&journal).unwrap();
        Some(journal).filter(|journal: &serde_json::Value| journal["phase"] == "Switching")
    }

    /// Recovers as often as it takes, dying at other calls than before each time.
    fn recover_dying(&self, mut call: u64) {
        call %= 11;
        loop {
            self.faults.stop_at(self.faults.calls() + call);
            call += 7;
            let recovered = lives(|| self.world.recover().unwrap());
            self.faults.heal();
            if recovered.is_some() {
                return;
            }
        }
    }

    /// The files that wait in the runner's own directories to be put to their places.
    fn staged(&self) -> usize {
        staged_below(&self.world.at("."))
    }
}

fn staged_below(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let here = if dir.ends_with("new") && dir.to_str().unwrap().contains(".cutover") {
        paths.len()
    } else {
        0
    };
    here + paths
        .iter()
        .filter(|path| path.symlink_metadata().unwrap().is_dir())
        .map(|dir| staged_below(dir))
        .sum::<usize>()
}

/// Does `work`, unless it dies.
fn lives<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// A fixed time, so that trees of several worlds can be compared.
fn set_times(path: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_times(FileTimes::new().set_modified(time))
        .unwrap();
}

#[test]
fn a_runner_that_dies_at_any_call_leaves_the_old_tree_or_the_new_one() {
    let trees = Case::old_and_new();
    let mut seen = [0, 0];
    for each in LIMITS {
        for call in 0.. {
            let case = Case::of(each);
            case.faults.stop_at(call);
            let lived = lives(|| case.install().unwrap()).is_some();
            case.faults.heal();
            case.recover_dying(call);
            let found = case.world.snapshot();
            let which = trees.iter().position(|tree| *tree == found);
            assert!(which.is_some(), "{each} call {call}: {found:#?}");
            seen[which.unwrap()] += 1;
            assert_eq!(case.staged(), 0, "{each} call {call}");
            // Whatever it was, the group goes on from there.
            case.install().unwrap();
            assert_eq!(case.world.snapshot(), trees[1], "{each} call {call}");
            if lived {
                break;
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn a_loss_of_power_at_any_call_leaves_the_old_tree_or_the_new_one_and_the_new_one_once_it_was_said()
{
    let trees = Case::old_and_new();
    let mut seen = [0, 0];
    for each in LIMITS {
        for call in 0.. {
            let case = Case::of(each);
            case.faults.stop_at(call);
            let lived = lives(|| case.install().unwrap()).is_some();
            for luck in [0, 1, 2 + 3 * call, 3 + 3 * call, 4 + 3 * call] {
                let home = in_memory();
                fs::remove_dir(home.path()).unwrap();
                case.faults.lose_power(home.path(), luck).unwrap();
                let after = World::of(home);
                after.recover().unwrap();
                let found = after.snapshot();
                let which = trees.iter().position(|tree| *tree == found);
                assert!(which.is_some(), "{each} call {call}, luck {luck}: {found:#?}");
                assert!(!lived || which == Some(1), "{each} call {call}, luck {luck}");
                seen[which.unwrap()] += 1;
                assert_eq!(after.recover().unwrap(), Recovery::Nothing);
            }
            if lived {
                break;
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
}

#[test]
fn a_call_that_fails_leaves_the_old_tree_or_the_new_one_and_says_which() {
    let trees = Case::old_and_new();
    for (with, each) in [(Errno::NOSPC, LIMITS[0]), (Errno::IO, LIMITS[0]), (Errno::IO, LIMITS[1])]
    {
        for call in 0.. {
            let case = Case::of(each);
            case.faults.fail_at(call, with);
            let outcome = case.install();
            let is_new = usize::from(outcome.is_ok());
            assert_eq!(case.world.snapshot(), trees[is_new], "call {call} {with}: {outcome:?}");
            let all = case.faults.calls();
            case.faults.heal();
            case.world.recover().unwrap();
            assert_eq!(case.world.snapshot(), trees[is_new], "call {call} {with}: {outcome:?}");
            assert_eq!(case.staged(), 0, "call {call} {with}");
            case.install().unwrap();
            assert_eq!(case.world.snapshot(), trees[1], "call {call} {with}");
            if call >= all {
                break;
            }
        }
    }
}

#[test]
fn a_disk_that_fills_up_leaves_the_old_tree_or_the_new_one_and_nothing_that_was_staged() {
    let trees = Case::old_and_new();
    for each in LIMITS {
        for call in 0.. {
            let case = Case::of(each);
            case.faults.fill_up_at(call);
            let outcome = case.install();
            let is_new = usize::from(outcome.is_ok());
            assert_eq!(case.world.snapshot(), trees[is_new], "{each} call {call}: {outcome:?}");
            assert!(outcome.is_ok() || case.staged() == 0, "{each} call {call}: {outcome:?}");
            let all = case.faults.calls();
            case.faults.heal();
            case.world.recover().unwrap();
            assert_eq!(case.world.snapshot(), trees[is_new], "{each} call {call}: {outcome:?}");
            if call >= all {
                break;
            }
        }
    }
}

#[test]
fn a_switch_that_fails_is_undone_also_if_the_disk_is_full_or_the_runner_dies_meanwhile() {
    for (call, is_full) in (0..).flat_map(|call| [(call, false), (call, true)]) {
        // Both limits in turn.
        let case = Case::of(LIMITS[usize::try_from(call / 2 % 2).unwrap()]);
        let (world, faults) = (&case.world, &case.faults);
        let plan = world.plan(&case.second.0, &case.second.1, Disallow).unwrap();
        // The directory that becomes a file is not empty any more when it comes to it.
        let by_user = world.at("srv/app/becomes-file/x/by-user");
        world.disk.replace(&by_user, b"mine", 0o644).unwrap();
        let (old, planned) = (world.snapshot(), faults.calls());
        faults.stop_at(planned + call);
        if is_full {
            faults.fill_up_at(planned + call.saturating_sub(20));
        }
        let outcome = lives(|| perform(plan));
        let all = faults.calls() - planned;
        faults.heal();
        if let Some(outcome) = &outcome {
            assert!(outcome.is_err(), "{outcome:?}");
        }
        // Recovery goes forward at first, fails as well, and goes back; and dies, at one call after the other.
        let mut dying = call % 5;
        while outcome.is_none() {
            faults.stop_at(faults.calls() + dying);
            dying += 3;
            let recovered = lives(|| world.recover().ok());
            faults.heal();
            if recovered.is_some() {
                break;
            }
        }
        assert_eq!(world.snapshot(), old, "call {call} {is_full}");
        assert_eq!(world.recover().unwrap(), Recovery::Nothing, "call {call} {is_full}");
        // Without space for a record, what a runner that died has staged is left to the next install.
        let is_left = is_full && outcome.is_none();
        assert!(is_left || case.staged() == 0, "call {call} {is_full}");
        if outcome.is_some() && call > all + 20 {
            break;
        }
    }
}

#[test]
fn an_install_that_is_not_forced_to_the_disk_makes_its_records_last_only() {
    let calls = |sync, each| {
        let mut case = Case::of(each);
        case.world.sync = sync;
        let before = case.faults.calls();
        case.install().unwrap();
        case.faults.calls() - before
    };
    let [none, each, all] = [(false, LIMITS[0]), (true, LIMITS[0]), (true, LIMITS[1])];
    let [none, each, all] = [none, each, all].map(|(sync, limit)| calls(sync, limit));
    assert!(none < all && all + 10 < each, "{none} {all} {each}");
}

#[test]
fn an_install_lasts_also_where_no_directory_can_be_synced_by_itself() {
    let trees = Case::old_and_new();
    let case = Case::new();
    case.faults.sync_nothing_alone(Errno::INVAL);
    case.install().unwrap();
    let home = in_memory();
    fs::remove_dir(home.path()).unwrap();
    case.faults.lose_power(home.path(), 0).unwrap();
    assert_eq!(World::of(home).snapshot(), trees[1]);
}

/// Two revisions that differ in everything that can differ.
fn revisions(world: &World) -> [(PathBuf, String); 2] {
    let first = world.bundle(
        "first",
        &[
            ("same", "same"),
            ("changed", "one"),
            ("gone", "gone"),
            ("old/dir/gone", "gone"),
            ("becomes-dir", "file"),
            ("becomes-file/x/y", "y"),
            ("link", "->changed"),
            ("linked/a", "a"),
            ("link-becomes-dir", "->linked"),
            ("linked/sub/", ""),
            ("dir-becomes-link/a", "not linked/a"),
        ],
    );
    let second = world.bundle(
        "second",
        &[
            ("same", "same"),
            ("changed", "two, longer"),
            ("new/dir/file", "new"),
            ("becomes-dir/inside", "inside"),
            ("becomes-file", "file now"),
            ("link", "->same"),
            ("linked/a", "a"),
            ("link-becomes-dir/a", "b"),
            ("link-becomes-dir/sub/", ""),
            ("linked/sub/", ""),
            ("dir-becomes-link", "->linked"),
        ],
    );
    for dir in [&first, &second] {
        set_all_times(dir);
    }
    let permissions = "permissions:\n  - object: /srv/app\n    mode: \"750\"\n";
    [(first, WHOLE.to_owned()), (second, format!("{WHOLE}{permissions}"))]
}

fn set_all_times(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.symlink_metadata().unwrap().file_type() {
            kind if kind.is_dir() => set_all_times(&path),
            kind if kind.is_file() => set_times(&path),
            _ => {}
        }
    }
}
