//! Files and logs on a disk that fails, fills up and loses power at each of their calls.

#![cfg(feature = "faults")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use durable::faults::Faults;
use durable::{Disk, Log};
use rustix::io::Errno;
use tempfile::TempDir;

/// A directory with a file, and the disk below it.
fn world() -> (TempDir, Arc<Faults>, Disk) {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("dir")).unwrap();
    fs::write(home.path().join("dir/file"), "old").unwrap();
    let faults = Faults::watch(&home.path().join("dir")).unwrap();
    let disk = faults.disk();
    (home, faults, disk)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// What each loss of power would leave of `file` now.
fn after_power_loss(home: &TempDir, faults: &Faults, file: &str) -> Vec<String> {
    let left = |luck: u64| {
        let into = home.path().join(format!("left-{}-{luck}", faults.calls()));
        faults.lose_power(&into, luck).unwrap();
        text(&into.join(file))
    };
    (0..12).map(left).collect()
}

#[test]
fn a_file_is_the_old_one_or_the_new_one_wherever_the_power_goes_and_the_new_one_once_it_was_said() {
    let mut seen = [0, 0];
    for call in 0.. {
        let (home, faults, disk) = world();
        let file = home.path().join("dir/file");
        faults.stop_at(call);
        let replace = || disk.replace(&file, b"the new one", 0o600);
        let lived = catch_unwind(AssertUnwindSafe(replace)).is_ok_and(|done| done.is_ok());
        for left in after_power_loss(&home, &faults, "file") {
            assert!(left == "the new one" || left == "old" && !lived, "call {call}: {left}");
            seen[usize::from(left == "old")] += 1;
        }
        if lived {
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            break;
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[test]
fn a_file_that_is_not_synced_is_found_torn_by_the_model() {
    let (home, faults, disk) = world();
    let file = home.path().join("dir/file");
    // Before the content is synced: what careless code would have renamed into place.
    faults.stop_at(3);
    let replace = || disk.replace(&file, b"the new one", 0o600);
    assert!(catch_unwind(AssertUnwindSafe(replace)).is_err());
    faults.heal();
    disk.rename_at(
        (fs::File::open(home.path().join("dir")).unwrap(), Path::new("file.new")),
        (fs::File::open(home.path().join("dir")).unwrap(), Path::new("file")),
    )
    .unwrap();
    let left = after_power_loss(&home, &faults, "file");
    assert!(left.contains(&String::new()) || left.contains(&"the n".to_owned()), "{left:?}");
}

#[test]
fn a_call_that_fails_leaves_the_old_file_and_nothing_beside_it() {
    for with in [Errno::NOSPC, Errno::IO] {
        for call in 0.. {
            let (home, faults, disk) = world();
            let file = home.path().join("dir/file");
            faults.fail_at(call, with);
            let done = disk.replace(&file, b"new", 0o600);
            let is_new = text(&file) == "new";
            // Only the last call, which makes it last, may fail with the new file in place.
            assert!(is_new || text(&file) == "old" && done.is_err(), "call {call}");
            assert_eq!(fs::read_dir(home.path().join("dir")).unwrap().count(), 1, "call {call}");
            if done.is_ok() {
                break;
            }
        }
    }
}

#[test]
fn a_removed_file_stays_away_and_one_that_is_not_there_is_no_error() {
    let (home, faults, disk) = world();
    disk.remove(&home.path().join("dir/file")).unwrap();
    disk.remove(&home.path().join("dir/file")).unwrap();
    let into = home.path().join("left");
    faults.lose_power(&into, 0).unwrap();
    assert_eq!(fs::read_dir(into).unwrap().count(), 0);
}

#[test]
fn a_tree_lasts_once_it_was_synced_whether_it_is_small_or_large() {
    for (files, calls) in [(3, 3 + 2), (Disk::default().sync_each() + 1, 1)] {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("sub")).unwrap();
        for number in 0..files {
            fs::write(home.path().join("sub").join(number.to_string()), "x").unwrap();
        }
        let faults = Faults::watch(home.path()).unwrap();
        faults.disk().sync_tree(home.path()).unwrap();
        assert_eq!(faults.calls(), calls, "{files} files and two directories");
    }
}

#[test]
fn a_log_keeps_its_lines_when_a_write_fails_or_the_power_goes() {
    for call in 0.. {
        let (home, faults, disk) = world();
        let dir = home.path().join("dir");
        let mut log = Log::open(&disk, &dir, "log", 0).unwrap();
        log.add(b"one\n", true).unwrap();
        let made = faults.calls();
        faults.fail_at(made + call, Errno::NOSPC);
        let second = log.add(b"two\n", true);
        let third = log.add(b"three\n", true);
        let found = text(&dir.join("log"));
        let lines: Vec<_> = found.lines().collect();
        assert!(found.ends_with('\n') && lines[0] == "one", "call {call}: {found}");
        assert!(third.is_err() || lines.last() == Some(&"three"), "call {call}: {found}");
        for left in after_power_loss(&home, &faults, "log") {
            assert!(left.starts_with("one\n"), "call {call}: {left}");
            assert!(third.is_err() || left == found, "call {call}: {left}");
        }
        if second.is_ok() && third.is_ok() {
            return;
        }
    }
}

#[test]
fn a_torn_line_is_cut_off_and_the_log_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_owned();
    fs::write(dir.join("log"), "one\ntw").unwrap();
    let disk = Disk::default();
    Log::open(&disk, &dir, "log", 4).unwrap().add(b"three\n", true).unwrap();
    assert_eq!(text(&dir.join("log")), "one\nthree\n");
}

#[test]
fn what_cannot_be_synced_by_itself_lasts_with_its_whole_file_system() {
    for with in [Errno::INVAL, Errno::OPNOTSUPP] {
        let (home, faults, disk) = world();
        let dir = home.path().join("dir");
        faults.sync_nothing_alone(with);
        disk.replace(&dir.join("file"), b"the new one", 0o600).unwrap();
        assert!(after_power_loss(&home, &faults, "file").iter().all(|left| left == "the new one"));
        Log::open(&disk, &dir, "log", 0).unwrap().add(b"one\n", true).unwrap();
        disk.sync_tree(&dir).unwrap();
        assert!(after_power_loss(&home, &faults, "log").iter().all(|left| left == "one\n"));
    }
    // A disk that is broken is another thing.
    let (home, faults, disk) = world();
    faults.sync_nothing_alone(Errno::IO);
    assert!(disk.replace(&home.path().join("dir/file"), b"new", 0o600).is_err());
}
