//! What installed files get from where they stand.

use rustix::fs::XattrFlags;

use super::*;

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let bytes = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(bytes);
    Some(value)
}

fn label(path: &Path) -> String {
    let label = get(path, "security.selinux").unwrap_or_default();
    String::from_utf8(label).unwrap().replace('\0', "")
}

/// Entries of an ACL: tag, permissions, user or group.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

const NOBODY: u32 = u32::MAX;

#[test]
fn a_file_has_the_default_acl_of_its_directory_as_if_it_had_been_made_there() {
    let world = World::new();
    let first = world.bundle("first", &[("a", "1"), ("new/b", "1"), ("run.sh", "1")]);
    fs::create_dir(world.at("srv/app")).unwrap();
    // User 1234 may write, others may nothing.
    let shared = [(1, 7, NOBODY), (2, 6, 1234), (4, 5, NOBODY), (16, 7, NOBODY), (32, 0, NOBODY)];
    set(&world.at("srv/app"), "system.posix_acl_default", &acl(&shared));
    // What the kernel does with files that are made there.
    for (name, mode) in [("by-user", 0o644), ("by-user.sh", 0o755)] {
        use std::os::unix::fs::OpenOptionsExt as _;
        fs::File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(world.at("srv/app").join(name))
            .unwrap();
        let bundled = if mode == 0o755 { "run.sh" } else { "a" };
        fs::set_permissions(first.join(bundled), fs::Permissions::from_mode(mode)).unwrap();
    }
    let seen = |path: &str| {
        let path = world.at("srv/app").join(path);
        let mode = fs::metadata(&path).unwrap().mode() & 0o7777;
        (mode, get(&path, "system.posix_acl_access"))
    };
    world.install(&first, WHOLE);
    assert!(seen("by-user").1.is_some());
    for (ours, theirs) in [("a", "by-user"), ("run.sh", "by-user.sh"), ("new/b", "by-user")] {
        assert_eq!(seen(ours), seen(theirs), "{ours}");
    }
    // A mode that the AppSpec names is meant.
    let spec = format!(
        "{WHOLE}permissions:\n  - object: /srv/app/a\n    mode: \"664\"\n    type: [file]\n"
    );
    world.install(&first, &spec);
    assert_eq!(seen("a").0, 0o664);
}

#[test]
fn a_file_has_the_label_of_the_one_before_it_or_of_the_policy_or_of_its_directory() {
    let mut world = World::new();
    let policy = world.home.path().join("matchpathcon");
    let script = "#!/bin/sh\nshift\nfor path; do case $path in\n*.html|*/pages) echo u:r:web_t:s0 ;; *) echo '<<none>>' ;; esac; done\n";
    fs::write(&policy, script).unwrap();
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755)).unwrap();
    world.selinux = Some(SeLinux { matchpathcon: Some(policy) });
    let files =
        |text| [("conf", text), ("pages/a.html", text), ("pages/b", text), ("link", "->conf")];
    let first = world.bundle("first", &files("1"));
    let second = world.bundle("second", &files("22"));
    fs::create_dir(world.at("srv/app")).unwrap();
    set(&world.at("srv/app"), "security.selinux", b"u:r:app_t:s0\0");
    world.install(&first, WHOLE);
    let at = |path: &str| world.at("srv/app").join(path);
    for (path, expected) in [
        ("conf", "u:r:app_t:s0"),
        ("pages", "u:r:web_t:s0"),
        ("pages/a.html", "u:r:web_t:s0"),
        ("pages/b", "u:r:web_t:s0"),
        ("link", "u:r:app_t:s0"),
    ] {
        assert_eq!(label(&at(path)), expected, "{path}");
    }
    // As an operator would with chcon.
    set(&at("conf"), "security.selinux", b"u:r:own_t:s0\0");
    world.install_once(&second, WHOLE);
    world.install_once(&second, WHOLE);
    assert_eq!(
        (label(&at("conf")), world.text("srv/app/conf")),
        ("u:r:own_t:s0".into(), "22".into())
    );
}

#[test]
fn a_file_deep_in_new_directories_has_the_label_of_the_one_that_is_there() {
    let mut world = World::new();
    world.selinux = Some(SeLinux { matchpathcon: None });
    fs::create_dir_all(world.at("srv/elsewhere/b")).unwrap();
    set(&world.at("srv/elsewhere/b"), "security.selinux", b"u:r:other_t:s0\0");
    set(&world.at("srv"), "security.selinux", b"u:r:srv_t:s0\0");
    // Links that are replaced by directories: to a place with a label of its own, and to nowhere.
    let links = world.bundle("links", &[("a", "->../elsewhere"), ("loop", "->loop"), ("c", "1")]);
    let dirs = world.bundle("dirs", &[("a/b/c/d/f", "1"), ("loop/b/f", "1"), ("c/d/e/f", "1")]);
    world.install(&links, WHOLE);
    world.install(&dirs, WHOLE);
    for path in ["a/b/c/d/f", "loop/b/f", "c/d/e/f"] {
        assert_eq!(label(&world.at("srv/app").join(path)), "u:r:srv_t:s0", "{path}");
    }
}
