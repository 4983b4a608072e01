//! Installs by a runner that may not do everything.

use super::*;

/// Does `work` as a user who may not do everything, in a thread of its own: the system gives each thread its users. None,
/// and a word about it, where that is not possible.
pub(super) fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let (uid, gid) = (rustix::fs::Uid::from_raw(65_534), rustix::fs::Gid::from_raw(65_534));
    let become_nobody = || {
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)
    };
    let work = || {
        let is_root = rustix::process::geteuid().is_root();
        if let Some(error) = is_root.then(become_nobody).and_then(Result::err) {
            eprintln!("not tested: this thread cannot become user 65534: {error}");
            return None;
        }
        Some(work())
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_installed_file_that_the_runner_may_not_read_is_replaced_like_any_other() {
    unprivileged(|| {
        let world = World::below(in_memory());
        let of = |name: &str, secret: &str, other: &str| {
            let bundle =
                world.bundle(name, &[("secret", secret), ("by-user", "1"), ("other", other)]);
            for file in ["secret", "by-user"] {
                let file = fs::File::options().write(true).open(bundle.join(file)).unwrap();
                file.set_modified(UNIX_EPOCH + Duration::from_secs(1_600_000_000)).unwrap();
            }
            bundle
        };
        let spec = format!("{WHOLE}permissions:\n  - object: /srv/app/secret\n    mode: \"200\"\n");
        let bundles = [("first", "1", "1"), ("second", "1", "22"), ("third", "3", "22")];
        let bundles = bundles.map(|(name, secret, other)| (of(name, secret, other), secret, other));
        for (bundle, secret, other) in [&bundles[..], &bundles[..]].concat() {
            for _ in 0..2 {
                world.install_once(&bundle, &spec);
                let path = world.at("srv/app/secret");
                assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o200);
                assert!(fs::read(&path).is_err(), "it can be read");
                set_mode(&path, 0o600);
                assert_eq!(
                    (world.text("srv/app/secret"), world.text("srv/app/other")),
                    (secret.to_owned(), other.to_owned())
                );
                set_mode(&path, 0o200);
                // As a hook or an operator would.
                set_mode(&world.at("srv/app/by-user"), 0);
            }
        }
    });
}

#[test]
fn a_file_of_somebody_else_that_the_runner_may_not_read_is_replaced_and_comes_back() {
    let make = || {
        let world = World::below(in_memory());
        fs::create_dir(world.at("srv/app")).unwrap();
        world
    };
    let Some(world) = unprivileged(make) else { return };
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root can make files of others");
        return;
    }
    let theirs = world.at("srv/app/theirs");
    fs::write(&theirs, "theirs").unwrap();
    set_mode(&theirs, 0o600);
    let bundle = world.bundle("first", &[("theirs", "ours"), ("z", "1")]);
    let Some(world) = unprivileged(move || {
        // What fails in the end is the last file, whose place somebody takes meanwhile.
        let plan = world.plan(&bundle, WHOLE, Overwrite).unwrap();
        fs::create_dir(world.at("srv/app/z")).unwrap();
        let error = perform(plan).unwrap_err();
        assert!(error.to_string().contains("srv/app/z"), "{error}");
        assert_eq!(fs::metadata(&theirs).unwrap().uid(), 0);
        fs::remove_dir(world.at("srv/app/z")).unwrap();
        perform(world.plan(&bundle, WHOLE, Overwrite).unwrap()).unwrap();
        world
    }) else {
        return;
    };
    assert_eq!(world.text("srv/app/theirs"), "ours");
}
