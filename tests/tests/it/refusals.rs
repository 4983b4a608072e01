//! Uploads that are no valid bundles: each is refused with a reason, and deploys nothing.

use serde_json::{Value, json};

use crate::support::archive::{Bundle, bomb, gzip};
use crate::support::home::Home;

fn subscribed() -> Home {
    let home = Home::started(1);
    home.make_group("CodeDeployDefault.OneAtATime");
    home.subscribe();
    home
}

/// Uploads something that is refused for a reason that has these words, and returns what is known of it.
#[track_caller]
fn refuse(home: &Home, key: &str, bytes: &[u8], words: &[&str]) -> Value {
    home.client().put(key, bytes);
    let upload = home.upload_of(key);
    assert_eq!(upload["state"], "Refused", "{key}: {upload}");
    let reason = upload["reason"].as_str().unwrap_or_default();
    for word in words {
        assert!(reason.contains(word), "{key}: `{word}` is not in `{reason}`");
    }
    upload
}

#[track_caller]
fn nothing_was_deployed(home: &Home) {
    assert!(home.deployments().is_empty());
    assert!(!home.file(1, "srv/shop").exists());
    let good = home.deploy("shop/good.zip", &Bundle::new("good").zip());
    home.succeeded(&good);
}

#[test]
fn what_is_no_whole_archive_is_refused() {
    let home = subscribed();
    refuse(&home, "shop/text.zip", b"this is no archive at all", &["zip", "tar"]);
    refuse(&home, "shop/empty.zip", b"", &[]);
    let bundle = Bundle::new("page").file("www/big", vec![7; 100_000], 0o644);
    let (zip, tar) = (bundle.zip(), bundle.tar());
    refuse(&home, "shop/short.zip", &zip[..zip.len() / 2], &["again"]);
    refuse(&home, "shop/short.tar", &tar[..tar.len() / 2], &["again"]);
    let packed = gzip(&tar);
    refuse(&home, "shop/short.tar.gz", &packed[..packed.len() - 9], &["again"]);
    // The first entry's content stands behind its header of 30 bytes and its name.
    let mut corrupt = Bundle::new(&"page ".repeat(1000)).zip();
    corrupt[30 + "www/page.txt".len() + 5] ^= 0xff;
    refuse(&home, "shop/corrupt.zip", &corrupt, &["www/page.txt", "damaged"]);
    nothing_was_deployed(&home);
}

#[test]
fn a_bundle_without_one_good_appspec_is_refused_at_the_place_of_the_error() {
    let home = subscribed();
    refuse(&home, "shop/nothing.tar", &[0; 1024], &[]);
    // One that lies too deep is none.
    let hidden = Bundle::default()
        .file("www/page.txt", "page", 0o644)
        .file("a/b/appspec.yml", "version: 0.0\nos: linux\n", 0o644)
        .tar_of_files();
    refuse(&home, "shop/hidden.tar", &hidden, &["appspec.yml"]);
    let two = Bundle::new("page").file("appspec.yml", "version: 0.0\nos: linux\n", 0o644).file(
        "appspec.yaml",
        "version: 0.0\nos: linux\n",
        0o644,
    );
    refuse(&home, "shop/two.zip", &two.zip(), &["appspec.yml", "appspec.yaml"]);
    let wrong = "version: 0.0\nos: linux\nfiles:\n  - source: www\n    destination: [1, 2]\n";
    let wrong = Bundle::new("page").file("appspec.yml", wrong, 0o644);
    let upload = refuse(&home, "shop/wrong.zip", &wrong.zip(), &["destination"]);
    assert_eq!(upload["file"], "appspec.yml");
    assert_eq!((&upload["line"], &upload["column"]), (&5.into(), &18.into()), "{upload}");
    let shown = home.cutover(&["status", "shop/web"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("appspec.yml:5:18"), "{shown}");
    let absent = "version: 0.0\nos: linux\nhooks:\n  AfterInstall:\n    - location: no/such.sh\n";
    let absent = Bundle::new("page").file("appspec.yml", absent, 0o644);
    refuse(&home, "shop/absent.zip", &absent.zip(), &["no/such.sh"]);
    nothing_was_deployed(&home);
}

#[test]
fn entries_that_could_leave_the_destination_are_refused() {
    let home = subscribed();
    let bundle = Bundle::new("page");
    let cases: [(&str, &str, u8, u32, &str, &str); 6] = [
        ("up", "../escaped", b'0', 0o644, "", ".."),
        ("inner-up", "www/../../escaped", b'0', 0o644, "", ".."),
        ("absolute", "/etc/escaped", b'0', 0o644, "", "absolute"),
        ("setuid", "www/root", b'0', 0o4755, "", "setuid"),
        ("device", "www/null", b'3', 0o666, "", "device"),
        ("fifo", "www/pipe", b'6', 0o666, "", "www/pipe"),
    ];
    for (name, path, kind, mode, link, word) in cases {
        let tar = bundle.tar_with(path, kind, mode, link);
        refuse(&home, &format!("shop/{name}.tar"), &tar, &[word]);
        refuse(&home, &format!("shop/{name}.tar.gz"), &gzip(&tar), &[word]);
    }
    let zip = Bundle::new("page").file("../escaped", "x", 0o644).zip();
    refuse(&home, "shop/up.zip", &zip, &[".."]);
    nothing_was_deployed(&home);
}

#[test]
fn a_name_that_is_nearly_an_event_is_refused_before_a_host_is_touched() {
    let home = subscribed();
    let bundle = Bundle::new("page").hook("After Install", "touch /srv/ran");
    let words = ["`After Install`", "did you mean `AfterInstall`?"];
    let upload = refuse(&home, "shop/nearly.zip", &bundle.zip(), &words);
    assert_eq!((&upload["file"], &upload["column"]), (&"appspec.yml".into(), &3.into()));
    // The same, deployed by hand.
    home.client().put("elsewhere/nearly.zip", &bundle.zip());
    let bucket = home.client().get("bucket");
    let location = json!({ "bucket": bucket, "key": "elsewhere/nearly.zip", "bundleType": "zip" });
    for _ in 0..2 {
        let revision = json!({ "revisionType": "S3", "s3Location": location });
        let request = json!({ "applicationName": "shop", "deploymentGroupName": "web", "revision": revision });
        let started = home.call("CreateDeployment", request);
        let id = started["deploymentId"].as_str().unwrap().to_owned();
        let info = home.ended(&id);
        assert_eq!(info["errorInformation"]["code"], "INVALID_REVISION", "{info}");
        let message = info["errorInformation"]["message"].as_str().unwrap();
        let line = upload["line"].as_u64().unwrap();
        assert!(message.contains(&format!("appspec.yml:{line}:3: `After Install`")), "{message}");
        assert!(!home.file(1, "srv").join("shop").exists());
    }
    // Any other name is nobody's event, and its scripts never run.
    let other = Bundle::new("page").hook("CustomEvent", "touch /srv/ran");
    home.succeeded(&home.deploy("shop/other.zip", &other.zip()));
    assert!(!home.file(1, "srv/ran").exists());
}

#[test]
fn ten_gigabytes_in_ten_megabytes_are_refused() {
    let home = subscribed();
    let bomb = bomb();
    assert!(bomb.len() < 12 << 20, "{} bytes", bomb.len());
    refuse(&home, "shop/bomb.tar.gz", &bomb, &["times its packed size"]);
    let spool = std::fs::read_dir(home.dir().join("spool")).unwrap().count();
    assert_eq!(spool, 0, "what was unpacked is removed");
    nothing_was_deployed(&home);
}

#[test]
fn a_bundle_in_a_single_folder_is_deployed() {
    let home = subscribed();
    let inside = Bundle::new("inside").files().into_iter();
    let bundle = inside.fold(Bundle::default(), |bundle, (path, content, mode)| {
        bundle.file(&format!("shop-1.0/{path}"), content, mode)
    });
    let id = home.deploy("shop/folder.tar", &bundle.tar_of_files());
    home.succeeded(&id);
    assert_eq!(home.text(1, "srv/shop/page.txt"), "inside");
}
