//! Installs on real directories, as one deployment follows the other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use durable::Disk;
use engine::appspec::FileExistsBehavior::{self, Disallow, Overwrite, Retain};
use tempfile::TempDir;

use super::*;

mod faults;
mod labels;
mod links;
mod records;
mod rights;

/// A host with its root, the group's state, and bundles.
struct World {
    home: TempDir,
    root: HostRoot,
    disk: Disk,
    sync: bool,
    selinux: Option<SeLinux>,
    /// What [`World::install`] installed last.
    last: RefCell<Option<(PathBuf, String)>>,
}

/// A tree as it is seen from outside: mode, time, owner and content by path, the runner's own directory left out.
type Snapshot = BTreeMap<String, String>;

impl World {
    fn new() -> Self {
        Self::below(tempfile::tempdir().unwrap())
    }

    fn below(home: TempDir) -> Self {
        for dir in ["root/srv", "group"] {
            fs::create_dir_all(home.path().join(dir)).unwrap();
        }
        Self::of(home)
    }

    fn of(home: TempDir) -> Self {
        let root = HostRoot::Prefix(home.path().join("root"));
        Self {
            home,
            root,
            disk: Disk::default(),
            sync: true,
            selinux: None,
            last: RefCell::default(),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.home.path().join("root").join(path)
    }

    fn group(&self) -> PathBuf {
        self.home.path().join("group")
    }

    /// An unpacked bundle: a path that ends with `/` is a directory, content that begins with `->` a link.
    fn bundle(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.home.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        for (path, content) in files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if let Some(target) = content.strip_prefix("->") {
                symlink(target, path).unwrap();
            } else if path.to_str().unwrap().ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::write(path, content).unwrap();
            }
        }
        dir
    }

    fn plan(
        &self,
        bundle: &Path,
        appspec: &str,
        behavior: FileExistsBehavior,
    ) -> Result<InstallPlan, InstallError> {
        let appspec =
            engine::appspec::parse(format!("version: 0.0\nos: linux\n{appspec}").as_bytes())
                .unwrap();
        plan(&Request {
            root: &self.root,
            group_dir: &self.group(),
            archive: bundle,
            revision: bundle.file_name().unwrap().to_str().unwrap(),
            appspec: &appspec,
            behavior,
            disk: &self.disk,
            selinux: self.selinux.as_ref(),
            sync: self.sync,
        })
    }

    /// Installs as a user does: the same once more, back to what was there, and forth again.
    fn install(&self, bundle: &Path, appspec: &str) -> Outcome {
        let old = self.snapshot();
        let outcome = self.install_once(bundle, appspec);
        let new = self.snapshot();
        self.install_once(bundle, appspec);
        assert_eq!(self.snapshot(), new, "twice");
        let last = self.last.replace(Some((bundle.to_owned(), appspec.to_owned())));
        if let Some((before, its_appspec)) = last {
            self.install_once(&before, &its_appspec);
            assert_eq!(self.snapshot(), old, "back");
            self.install_once(bundle, appspec);
            assert_eq!(self.snapshot(), new, "forth");
        }
        outcome
    }

    fn recover(&self) -> Result<Recovery, InstallError> {
        recover(&self.root, &self.group(), &self.disk, self.sync)
    }

    fn install_once(&self, bundle: &Path, appspec: &str) -> Outcome {
        perform(self.plan(bundle, appspec, Disallow).unwrap()).unwrap()
    }

    fn snapshot(&self) -> Snapshot {
        let mut found = Snapshot::new();
        let mut left = vec![self.home.path().join("root")];
        while let Some(dir) = left.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path.ends_with(".cutover") {
                    continue;
                }
                let meta = path.symlink_metadata().unwrap();
                let owner = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
                let content = if meta.is_dir() {
                    left.push(path.clone());
                    String::new()
                } else if meta.is_symlink() {
                    fs::read_link(&path).unwrap().to_str().unwrap().to_owned()
                } else {
                    format!(
                        "{}.{} {}",
                        meta.mtime(),
                        meta.mtime_nsec(),
                        fs::read_to_string(&path).unwrap()
                    )
                };
                let path = path.strip_prefix(self.home.path().join("root")).unwrap();
                found.insert(path.to_str().unwrap().to_owned(), format!("{owner} {content}"));
            }
        }
        found
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| format!("<{error}>"))
    }
}

/// A directory where a sync costs nothing, if there is one.
fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

const WHOLE: &str = "files:\n  - source: /\n    destination: /srv/app\n";

fn own() -> String {
    format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

#[test]
fn going_back_to_the_revision_before_copies_nothing() {
    let world = World::new();
    let first = world.bundle("first", &[("a", "1"), ("gone", "1"), ("link", "->a")]);
    let second = world.bundle("second", &[("a", "22"), ("new", "2")]);
    assert_eq!(world.install(&first, WHOLE), Outcome { files: 3, copied_files: 2 });
    let old = world.snapshot();
    let inode = fs::metadata(world.at("srv/app/gone")).unwrap().ino();
    assert_eq!(world.install(&second, WHOLE).copied_files, 2);
    assert_eq!(world.install(&first, WHOLE), Outcome { files: 3, copied_files: 0 });
    assert_eq!(world.snapshot(), old);
    assert_eq!(fs::metadata(world.at("srv/app/gone")).unwrap().ino(), inode);
    // The same revision again changes nothing, and copies only what was changed on the host.
    fs::write(world.at("srv/app/a"), "edited").unwrap();
    let plan = world.plan(&first, WHOLE, Disallow).unwrap();
    assert_eq!(plan.edited, ["srv/app/a"]);
    assert_eq!(perform(plan).unwrap().copied_files, 1);
    assert_eq!(world.text("srv/app/a"), "1");
}

#[test]
fn files_of_others_are_refused_replaced_or_kept_as_asked_and_never_removed() {
    let world = World::new();
    let bundle = world.bundle("first", &[("a", "ours"), ("b", "ours")]);
    fs::create_dir_all(world.at("srv/app")).unwrap();
    fs::write(world.at("srv/app/a"), "theirs").unwrap();
    symlink("/etc/passwd", world.at("srv/app/b")).unwrap();
    let old = world.snapshot();
    let Err(InstallError::FileExists { paths }) = world.plan(&bundle, WHOLE, Disallow) else {
        panic!()
    };
    assert_eq!(paths, ["srv/app/a", "srv/app/b"]);
    let plan = world.plan(&bundle, WHOLE, Retain).unwrap();
    assert_eq!(plan.retained, ["srv/app/a", "srv/app/b"]);
    perform(plan).unwrap();
    assert_eq!(world.snapshot(), old);
    // The link itself is replaced, not what it points to; the AppSpec beats the deployment's option.
    let overwrite = format!("{WHOLE}file_exists_behavior: OVERWRITE\n");
    perform(world.plan(&bundle, &overwrite, Disallow).unwrap()).unwrap();
    assert_eq!(
        (world.text("srv/app/a"), world.text("srv/app/b")),
        ("ours".to_owned(), "ours".to_owned())
    );
    assert!(world.at("srv/app/b").symlink_metadata().unwrap().is_file());
    // Now they are ours; what a user adds stays, and so does its directory.
    fs::write(world.at("srv/app/upload"), "theirs").unwrap();
    world.install(
        &world.bundle("empty", &[("z/", "")]),
        "files:\n  - source: z\n    destination: /srv/other\n",
    );
    assert!(!world.at("srv/app/a").exists());
    assert_eq!(world.text("srv/app/upload"), "theirs");
    assert!(world.at("srv/other").is_dir());
    // Directories that we made go when they are not needed.
    world.install(&bundle, "files:\n  - source: a\n    destination: /srv/third\n");
    assert!(!world.at("srv/other").exists());
    assert_eq!(world.text("srv/third/a"), "ours");
}

#[test]
fn what_cannot_be_installed_is_found_before_anything_is_touched() {
    let world = World::new();
    let bundle = world.bundle("b", &[("a/x", "1"), ("b/x", "2"), ("c", "3")]);
    fs::write(world.at("srv/file"), "").unwrap();
    fs::create_dir_all(world.at("srv/taken/c")).unwrap();
    let old = world.snapshot();
    let files = |entries: &[(&str, &str)]| {
        let entry =
            |(source, to): &(&str, &str)| format!("  - source: {source}\n    destination: {to}\n");
        format!("files:\n{}", entries.iter().map(entry).collect::<String>())
    };
    let permission = |lines: &str| {
        format!("{}permissions:\n  - object: /srv/app\n{lines}", files(&[("a", "/srv/app")]))
    };
    for (appspec, expected) in [
        (files(&[("nothing", "/srv/app")]), "is not in the bundle"),
        (files(&[("../b", "/srv/app")]), "is not in the bundle"),
        (files(&[("a", "/srv/app"), ("b", "/srv/app")]), "both `a/x` and `b/x`"),
        (files(&[("a", "/srv/file")]), "must be a directory"),
        (files(&[("c", "/srv/file/below")]), "`/srv/file` is a file"),
        (files(&[("c", "/srv/taken")]), "must be a file"),
        (files(&[("c", "/srv/app"), ("a", "/srv/app/c")]), "is a file"),
        (permission("    owner: no-such-user\n"), "there is no user `no-such-user`"),
        (permission("    group: no-such-group\n"), "there is no group `no-such-group`"),
        (
            format!(
                "{}  - object: /srv/app\n    mode: \"600\"\n",
                permission("    mode: \"644\"\n")
            ),
            "is meant more than once",
        ),
    ] {
        let error = world.plan(&bundle, &appspec, Overwrite).unwrap_err().to_string();
        assert!(error.contains(expected), "{appspec}: {error}");
        assert_eq!(world.snapshot(), old);
        assert!(fs::read_dir(world.group()).unwrap().next().is_none());
    }
}

#[test]
fn names_that_are_no_text_are_installed_as_they_are() {
    let world = World::new();
    let (with, without) =
        (world.bundle("with", &[("a", "1")]), world.bundle("without", &[("a", "1")]));
    let name = OsStr::from_bytes(b"gr\xfcn");
    fs::create_dir(with.join(name)).unwrap();
    fs::write(with.join(name).join(name), "one").unwrap();
    symlink(Path::new(name).join(name), with.join("l")).unwrap();
    for _ in 0..2 {
        for _ in 0..2 {
            assert_eq!(world.install_once(&with, WHOLE).files, 3);
            let file = world.at("srv/app").join(name).join(name);
            assert_eq!(fs::read_to_string(file).unwrap(), "one");
            assert_eq!(world.text("srv/app/l"), "one");
        }
        world.install_once(&without, WHOLE);
        assert!(!world.at("srv/app").join(name).exists());
    }
}

#[test]
fn permissions_apply_to_what_is_installed_as_the_appspec_says() {
    let world = World::new();
    let bundle =
        world.bundle("b", &[("run.sh", "1"), ("keep.sh", "1"), ("d/deep.txt", "1"), ("su", "1")]);
    fs::create_dir_all(world.at("srv/app")).unwrap();
    fs::write(world.at("srv/app/by-user"), "").unwrap();
    let before = fs::metadata(world.at("srv/app/by-user")).unwrap().mode();
    // Only root may give files away, even to root.
    let owner = if own() == "0:0" { "    owner: root\n    group: root\n" } else { "" };
    let appspec = format!(
        "{WHOLE}permissions:
  - object: /srv/app
    pattern: \"*.sh\"
    except: [keep.sh]
    mode: \"751\"
    type: [file]
  - object: /srv/app/d
    pattern: \"**\"
    mode: \"640\"
{owner}    type: [file]
  - object: /srv/app/su
    mode: 4755
    type: [file]
"
    );
    world.install(&bundle, &appspec);
    let mode = |path: &str| fs::metadata(world.at(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("srv/app/run.sh"), 0o751);
    assert_eq!(
        mode("srv/app/keep.sh"),
        fs::metadata(bundle.join("keep.sh")).unwrap().mode() & 0o7777
    );
    assert_eq!((mode("srv/app/d/deep.txt"), mode("srv/app/su")), (0o640, 0o4755));
    assert_eq!(fs::metadata(world.at("srv/app/by-user")).unwrap().mode(), before);
}

#[test]
fn directories_that_exist_keep_owner_and_mode_and_new_ones_get_theirs() {
    let world = World::new();
    let first = world.bundle("first", &[("cache/a", "1"), ("run/a", "1")]);
    let permissions = |directory: &str, mode: &str| {
        format!(
            "permissions:\n  - object: /srv/app\n    pattern: {directory}\n    mode: \"{mode}\"\n    type: [directory]\n"
        )
    };
    world.install(&first, &format!("{WHOLE}{}", permissions("run", "700")));
    let mode = |path: &str| fs::metadata(world.at(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("srv/app/cache"), mode("srv/app/run")), (0o755, 0o700));
    // As a hook or an operator would.
    let change = |path: &str, mode| {
        fs::set_permissions(world.at(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    change("srv/app", 0o2775);
    change("srv/app/cache", 0o1777);
    let second = world.bundle("second", &[("cache/a", "2"), ("run/a", "2"), ("new/a", "2")]);
    let spec = format!("{WHOLE}{}", permissions("\"*\"", "750"));
    let plan = world.plan(&second, &spec, Disallow).unwrap();
    assert_eq!(plan.ungranted, ["srv/app/cache", "srv/app/run"]);
    assert!(plan.notes()[0].contains("`/srv/app/cache`, `/srv/app/run`"), "{:?}", plan.notes());
    world.install(&second, &spec);
    let modes = ["srv/app", "srv/app/cache", "srv/app/run", "srv/app/new"].map(mode);
    assert_eq!(modes, [0o2775, 0o1777, 0o700, 0o750]);
}

#[test]
fn an_object_and_a_destination_mean_the_same_before_and_after_an_install() {
    let world = World::new();
    let first = world.bundle("first", &[("v1/x", "1"), ("current", "->v1"), ("conf", "1")]);
    let object = |path: &str| format!("permissions:\n  - object: {path}\n    mode: \"600\"\n");
    let mode = |path: &str| fs::metadata(world.at(path)).unwrap().mode() & 0o777;
    // The link itself, not the directory that it leads to once it is there.
    world.install(&first, &format!("{WHOLE}{}", object("/srv/app/current")));
    assert_ne!(mode("srv/app/v1/x"), 0o600);
    world.install(&first, &format!("{WHOLE}{}", object("/srv/app/current/x")));
    assert_ne!(mode("srv/app/v1/x"), 0o600);
    world.install(&first, &format!("{WHOLE}{}", object("/srv/app/conf")));
    assert_eq!(mode("srv/app/conf"), 0o600);
    // A destination may be where a file and a link of the revision before are.
    let second = world.bundle("second", &[("y", "2")]);
    let files: String = ["conf", "current"]
        .map(|to| format!("  - source: y\n    destination: /srv/app/{to}\n"))
        .concat();
    world.install(&second, &format!("files:\n{files}"));
    let read = ["srv/app/conf/y", "srv/app/current/y", "srv/app/v1/y"].map(|at| world.text(at));
    assert_eq!(read[..2], ["2", "2"]);
    assert!(!world.at("srv/app/v1").exists(), "{read:?}");
}

#[test]
fn an_install_that_the_disk_has_no_space_for_leaves_the_old_tree() {
    let world = World::new();
    let first = world.bundle("first", &[("a", "1")]);
    world.install(&first, WHOLE);
    let old = world.snapshot();
    let second = world.bundle("second", &[("a", "2"), ("large", "")]);
    let bytes = 1 << 43;
    fs::File::create(second.join("large")).unwrap().set_len(bytes).unwrap();
    let plan = world.plan(&second, WHOLE, Disallow).unwrap();
    let Err(InstallError::DiskFull { needed, .. }) = perform(plan) else { panic!() };
    assert_eq!(needed, bytes + 1);
    assert_eq!(world.snapshot(), old);
    assert_eq!(world.recover().unwrap(), Recovery::Nothing);
}

#[test]
fn a_file_whose_content_alone_changes_gets_the_time_of_the_install_and_keeps_it() {
    let world = World::new();
    let of = |name: &str, files: &[(&str, &str)]| {
        let bundle = world.bundle(name, files);
        for (file, _) in files {
            let file = fs::File::options().write(true).open(bundle.join(file)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_600_000_000)).unwrap();
        }
        bundle
    };
    let first = of("first", &[("app.py", "print(1)"), ("same", "same"), ("longer", "1")]);
    let second = of("second", &[("app.py", "print(2)"), ("same", "same"), ("longer", "22")]);
    let third = of("third", &[("app.py", "print(2)"), ("same", "same"), ("longer", "33")]);
    let time = |file: &str| fs::metadata(world.at("srv/app").join(file)).unwrap().mtime();
    world.install(&first, WHOLE);
    // What did not change is not copied.
    assert_eq!(world.install(&second, WHOLE), Outcome { files: 3, copied_files: 2 });
    let changed = time("app.py");
    assert!(changed > 1_700_000_000, "{changed}");
    assert_eq!((time("same"), time("longer")), (1_600_000_000, 1_600_000_000));
    let manifest: state::Manifest = state::load(&world.group(), state::INSTALLED).unwrap().unwrap();
    let retimed: Vec<_> = manifest.files.iter().filter(|(_, it)| it.retimed).collect();
    assert_eq!(retimed.len(), 1);
    assert_eq!((retimed[0].0.as_str(), retimed[0].1.stamp.mtime_s), ("srv/app/app.py", changed));
    // Whoever remembers the content by that time must not take the first one's for it.
    world.install(&third, WHOLE);
    assert_eq!(time("app.py"), changed);
    assert!(time("longer") > 1_700_000_000);
}
