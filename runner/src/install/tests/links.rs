//! Links of the bundle and of the host.

use super::rights::unprivileged;
use super::*;

#[test]
fn links_that_lead_out_are_installed_as_they_are_and_nothing_is_written_through_them() {
    let world = World::new();
    fs::create_dir(world.at("outside")).unwrap();
    fs::write(world.at("outside/x"), "old").unwrap();
    let outside = world.at("outside").display().to_string();
    let links = world.bundle(
        "links",
        &[
            ("app/venv/python", "->/usr/bin/python3"),
            ("app/storage", &format!("->{outside}")),
            ("app/up", "->../../../../outside"),
            ("data", &format!("->{outside}")),
            ("abs", "->/app"),
        ],
    );
    let dirs = world.bundle(
        "dirs",
        &[
            ("app/venv/python", "1"),
            ("app/storage/x", "2"),
            ("app/up/x", "3"),
            ("data/x", "4"),
            ("abs", "5"),
        ],
    );
    let appspec = "files:\n  - source: app\n    destination: /srv/app\n  - source: abs\n    destination: /srv\n  - source: data\n    destination: /srv\npermissions:\n  - object: /srv/app\n    mode: \"600\"\n    type: [file]\n";
    let of_dirs =
        appspec.replace("data\n    destination: /srv\n", "data\n    destination: /srv/data\n");
    for (bundle, appspec) in [(&links, appspec), (&dirs, of_dirs.as_str())].repeat(2) {
        world.install(bundle, appspec);
        assert_eq!(fs::read_to_string(world.at("outside/x")).unwrap(), "old");
        assert_eq!(fs::read_dir(world.at("outside")).unwrap().count(), 1);
        let storage = world.at("srv/app/storage");
        if appspec == of_dirs {
            assert_eq!(fs::read_to_string(storage.join("x")).unwrap(), "2");
            assert_eq!(fs::read_to_string(world.at("srv/data/x")).unwrap(), "4");
        } else {
            assert_eq!(fs::read_link(storage).unwrap(), world.at("outside"));
            assert_eq!(fs::read_link(world.at("srv/data")).unwrap(), world.at("outside"));
            let up = fs::read_link(world.at("srv/app/up")).unwrap();
            assert_eq!(up, Path::new("../../../../outside"));
            // A directory of the bundle that is called so is not meant.
            assert_eq!(fs::read_link(world.at("srv/abs")).unwrap(), Path::new("/app"));
        }
    }
}

#[test]
fn links_of_the_host_never_lead_out_of_its_root() {
    let world = World::new();
    let outside = world.home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, world.at("srv/absolute")).unwrap();
    symlink("../../../../../outside", world.at("srv/relative")).unwrap();
    symlink("/srv/real", world.at("srv/inside")).unwrap();
    fs::create_dir(world.at("srv/real")).unwrap();
    let bundle = world.bundle("b", &[("x", "1")]);
    for name in ["absolute", "relative"] {
        let appspec = format!("files:\n  - source: x\n    destination: /srv/{name}\n");
        // Below the root, neither leads anywhere.
        let outcome = world.plan(&bundle, &appspec, Overwrite).map(perform);
        assert!(!matches!(outcome, Ok(Ok(_))), "{outcome:?}");
        assert!(fs::read_dir(&outside).unwrap().next().is_none());
    }
    // An absolute link means the host's own place.
    world.install(&bundle, "files:\n  - source: x\n    destination: /srv/inside\n");
    assert_eq!(world.text("srv/real/x"), "1");
}

#[test]
fn a_link_to_a_directory_stays_a_link_and_times_are_kept() {
    let world = World::new();
    let bundle = world.bundle("b", &[("v1/x", "1"), ("current", "->v1")]);
    world.install(&bundle, WHOLE);
    assert_eq!(fs::read_link(world.at("srv/app/current")).unwrap(), Path::new("v1"));
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    assert_eq!(time(&world.at("srv/app/v1/x")), time(&bundle.join("v1/x")));
}

#[test]
fn a_link_is_not_followed_when_it_takes_the_place_of_a_directory_or_gives_it_back() {
    let switch = || {
        let world = World::below(in_memory());
        // Where nobody gets in but root.
        fs::create_dir(world.at("closed")).unwrap();
        fs::set_permissions(world.at("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        let dirs = world.bundle("dirs", &[("loop/x/y", "1"), ("closed/x/y", "1"), ("d/x", "1")]);
        let links = world.bundle("links", &[("loop", "->loop"), ("closed", "->/closed")]);
        let file = world.bundle("file", &[("loop/x/y", "1"), ("closed/x/y", "1"), ("d", "1")]);
        world.install_once(&dirs, WHOLE);
        for _ in 0..2 {
            world.install_once(&links, WHOLE);
            world.install_once(&links, WHOLE);
            assert_eq!(fs::read_link(world.at("srv/app/loop")).unwrap(), Path::new("loop"));
            assert_eq!(fs::read_link(world.at("srv/app/closed")).unwrap(), Path::new("/closed"));
            world.install_once(&dirs, WHOLE);
            assert_eq!(world.text("srv/app/closed/x/y"), "1");
        }
        // Both ways back, too, where a step fails in the end.
        let both = [("loop", "->loop"), ("closed", "->/closed"), ("d/x", "1")];
        let both = world.bundle("both", &both);
        let links = world
            .bundle("links-and-file", &[("loop", "->loop"), ("closed", "->/closed"), ("d", "1")]);
        for (before, after) in [(&dirs, &links), (&both, &file)] {
            world.install_once(before, WHOLE);
            let plan = world.plan(after, WHOLE, Disallow).unwrap();
            fs::write(world.at("srv/app/d/by-user"), "mine").unwrap();
            let error = perform(plan).unwrap_err();
            assert!(!matches!(error, InstallError::HalfWay { .. }), "{error}");
            assert_eq!(world.recover().unwrap(), Recovery::Nothing);
            let is_dir = |path| world.at(path).symlink_metadata().unwrap().is_dir();
            assert_eq!(["srv/app/loop", "srv/app/closed"].map(is_dir), [before == &dirs; 2]);
            fs::remove_file(world.at("srv/app/d/by-user")).unwrap();
        }
    };
    switch();
    unprivileged(switch);
}
