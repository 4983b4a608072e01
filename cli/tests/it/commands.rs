//! All commands but the watching ones.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use expect_test::expect;
use serde_json::{Value, json};

use crate::service::{Service, program, transcript};

const GOOD: &str = "version: 0.0\nos: linux\nfiles:\n  - source: /a\n    destination: /srv/a\n";
const NO_DESTINATION: &str = "version: 0.0\nos: linux\nfiles:\n  - source: /a\n";

fn refusal(name: &str, message: &str) -> Value {
    json!({ "__type": name, "message": message })
}

fn bundle(appspec: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("appspec.yml"), appspec).unwrap();
    fs::write(dir.path().join("a"), "content").unwrap();
    fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

#[test]
fn init_makes_what_is_missing_and_updates_what_is_there() {
    let service = Service::with(&[
        (
            "CreateApplication",
            &[
                json!({ "applicationId": "1" }),
                refusal("ApplicationAlreadyExistsException", "is there"),
            ],
        ),
        (
            "CreateDeploymentGroup",
            &[
                json!({ "deploymentGroupId": "1" }),
                refusal("DeploymentGroupAlreadyExistsException", "is there"),
            ],
        ),
        ("UpdateDeploymentGroup", &[json!({})]),
    ]);
    let first = service.run(&["init", "shop/web", "--auto-rollback"]);
    let second = service.run(&["init", "shop/web", "--tag", "role=web", "--tag", "zone=a"]);
    let third = service.run(&["init", "shop/web"]);
    expect![[r#"
        application shop created
        group shop/web created
        2> next: cutover push DIR shop
        exit 0

        application shop exists
        group shop/web exists; it was updated with the given options
        2> next: cutover push DIR shop
        exit 0

        application shop exists
        group shop/web exists; nothing was changed
        2> next: cutover push DIR shop
        exit 0
    "#]]
    .assert_eq(&[first, second, third].join("\n"));
    let created = &service.asked("CreateDeploymentGroup")[0];
    assert_eq!(created["onPremisesTagSet"]["onPremisesTagSetList"][0][0]["Key"], "home");
    let events = json!(["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"]);
    assert_eq!(created["autoRollbackConfiguration"]["events"], events);
    let updated = service.asked("UpdateDeploymentGroup");
    assert_eq!(updated.len(), 1);
    // All of several tags: each is a group of its own.
    assert_eq!(updated[0]["onPremisesTagSet"]["onPremisesTagSetList"].as_array().unwrap().len(), 2);
    assert_eq!(updated[0].get("autoRollbackConfiguration"), None);
}

#[test]
fn push_uploads_a_directory_and_registers_it() {
    let service = Service::with(&[
        ("GetApplication", &[json!({})]),
        ("RegisterApplicationRevision", &[json!({})]),
    ]);
    let dir = bundle(GOOD);
    let path = dir.path().to_str().unwrap();
    let text = service.run(&["push", path, "shop", "--key", "shop/ä b.zip"]);
    expect![[r#"
        s3://revisions/shop/ä b.zip
        2> next: cutover deploy shop/GROUP --watch
        exit 0
    "#]]
    .assert_eq(&text);
    let (exit, pushed) = service.run_for_json(&["push", path, "shop"]);
    assert_eq!(exit, 0);
    let put = service.put();
    assert_eq!(put[0].0, "/revisions/shop/%C3%A4%20b.zip");
    assert_eq!(put[0].1, put[1].1, "equal directories make equal archives");
    let registered = &service.asked("RegisterApplicationRevision")[1];
    assert_eq!(registered["revision"], pushed["revision"]);
    let place = &pushed["revision"]["s3Location"];
    assert_eq!(place["eTag"], "0cc175b9c0f1b6a831c399e269772661");
    let key = place["key"].as_str().unwrap();
    assert!(
        key.starts_with("shop/shop-2")
            && key.len() == "shop/shop-20261123T090000-01234567.zip".len(),
        "{key}"
    );
}

#[test]
fn push_uploads_nothing_that_hosts_would_refuse() {
    let service = Service::with(&[("GetApplication", &[json!({})])]);
    let dir = bundle(NO_DESTINATION);
    let path = dir.path().to_str().unwrap();
    expect![[r#"
        2> [BUNDLE]/appspec.yml:4:5: error: an entry of `files` has no `destination`; add the directory on the host that it goes to
        2> error: hosts would refuse the bundle in `[BUNDLE]`
        2>
        2> hint: correct what is listed above; nothing was uploaded
        exit 1
    "#]].assert_eq(&service.run(&["push", path, "shop"]).replace(path, "[BUNDLE]"));
    assert!(service.put().is_empty());
}

#[test]
fn lint_names_the_place_of_what_is_wrong_in_files_directories_and_archives() {
    let lint = |path: &Path| {
        let output = program().arg("lint").arg(path).output().unwrap();
        transcript(&output).replace(path.parent().unwrap().to_str().unwrap(), "[..]")
    };
    let dir = bundle(NO_DESTINATION);
    expect![[r#"
        [..]/appspec.yml:4:5: error: an entry of `files` has no `destination`; add the directory on the host that it goes to
        exit 1
    "#]].assert_eq(&lint(&dir.path().join("appspec.yml")));
    let missing = bundle(&GOOD.replace("/a\n    d", "/b\n    d"));
    fs::rename(missing.path().join("a"), missing.path().join("c")).unwrap();
    let name = missing.path().file_name().unwrap().to_str().unwrap().to_owned();
    expect![[r#"
        [..]/bundle/appspec.yml:4:13: error: the source `/b` is not in the bundle; pack it, or take the entry out
        exit 1
    "#]].assert_eq(&lint(missing.path()).replace(&name, "bundle"));
    let good = bundle(GOOD);
    assert_eq!(lint(good.path()), "2> nothing to complain about\nexit 0\n");

    let mut zip = zip::ZipWriter::new(fs::File::create(dir.path().join("x.zip")).unwrap());
    zip.start_file("appspec.yml", zip::write::SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut zip, NO_DESTINATION.as_bytes()).unwrap();
    zip.finish().unwrap();
    expect![[r#"
        appspec.yml:4:5: error: an entry of `files` has no `destination`; add the directory on the host that it goes to
        exit 1
    "#]].assert_eq(&lint(&dir.path().join("x.zip")));
    // What is an archive, but none that is taken, is no bad AppSpec file.
    fs::write(dir.path().join("x.tar.xz"), b"\xfd7zXZ\0\0\x04").unwrap();
    let zip = fs::read(dir.path().join("x.zip")).unwrap();
    fs::write(dir.path().join("x.run"), [b"#!/bin/sh\nexit\n", &*zip].concat()).unwrap();
    expect![[r#"
        [..]/x.tar.xz: error: the file is an xz archive; Cutover takes zip, tar and tar.gz: pack it anew, as `cutover push` does from its directory
        exit 1
    "#]].assert_eq(&lint(&dir.path().join("x.tar.xz")));
    expect![[r#"
        [..]/x.run: error: the file is a zip archive behind something else, as self-extracting ones are; Cutover takes zip, tar and tar.gz: pack it anew, as `cutover push` does from its directory
        exit 1
    "#]].assert_eq(&lint(&dir.path().join("x.run")));
    let output = program()
        .args(["lint", "--format", "json"])
        .arg(dir.path().join("x.zip"))
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["accepted"], &found["findings"][0]["line"]), (&json!(false), &json!(4)));
}

#[test]
fn lint_tells_what_hosts_take_and_nobody_means() {
    let spec = format!(
        "{GOOD}hooks:\n  AfterInstall:\n    - location: ./dos.sh\n      timeout: 60\n    - location: bare.sh\n      timeout: 60\n  Custom:\n    - location: bare.sh\n"
    );
    let dir = bundle(&spec);
    fs::write(dir.path().join("dos.sh"), "#!/bin/sh\r\necho\r\n").unwrap();
    fs::write(dir.path().join("bare.sh"), "echo\n").unwrap();
    fs::create_dir(dir.path().join(".git")).unwrap();
    fs::write(dir.path().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    let lint = |path: &Path| {
        let said = transcript(&program().arg("lint").arg(path).output().unwrap());
        said.replace(path.to_str().unwrap(), "[..]")
    };
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("x.tar");
    let entries: [&[&str]; 2] = [&[".git", "a", "appspec.yml", "bare.sh", "dos.sh"], &["a"]];
    for (how, entries) in ["--create", "--append"].into_iter().zip(entries) {
        let mut tar = std::process::Command::new("tar");
        tar.arg("-C").arg(dir.path()).arg(how).arg("--file").arg(&archive).args(entries);
        assert!(tar.status().unwrap().success());
    }
    for _ in 0..2 {
        expect![[r#"
            [..]/appspec.yml:12:3: warning: `Custom` is not a lifecycle event of hosts, so its scripts never run in a deployment; remove it, or correct its name
            [..]/.git/HEAD: warning: the repository of git is packed, too, and goes to all hosts with its whole history; pack without `.git`, or push with `--mtime commit`, which leaves it out
            [..]/bare.sh:1:1: warning: the script has no `#!` line, so `/bin/sh` runs it; begin it with `#!/bin/sh`, or with the program that it is written for
            [..]/dos.sh:1:1: warning: the line ends with CR LF, as on Windows, so the host looks for an interpreter with a CR in its name and does not find it; save the script with LF, or run `sed -i 's/\r$//'` on it
            exit 0
        "#]].assert_eq(&lint(dir.path()));
    }
    expect![[r#"
        appspec.yml:12:3: warning: `Custom` is not a lifecycle event of hosts, so its scripts never run in a deployment; remove it, or correct its name
        [..]: warning: `a` is in the archive more than once; the last one counts
        .git/HEAD: warning: the repository of git is packed, too, and goes to all hosts with its whole history; pack without `.git`, or push with `--mtime commit`, which leaves it out
        bare.sh:1:1: warning: the script has no `#!` line, so `/bin/sh` runs it; begin it with `#!/bin/sh`, or with the program that it is written for
        dos.sh:1:1: warning: the line ends with CR LF, as on Windows, so the host looks for an interpreter with a CR in its name and does not find it; save the script with LF, or run `sed -i 's/\r$//'` on it
        exit 0
    "#]].assert_eq(&lint(&archive));

    let misspelt = bundle(&spec.replace("AfterInstall", "After Install"));
    expect![[r#"
        [..]/appspec.yml:7:3: error: `After Install` is not a lifecycle event, so its scripts would never run; did you mean `AfterInstall`?
        [..]/appspec.yml:12:3: warning: `Custom` is not a lifecycle event of hosts, so its scripts never run in a deployment; remove it, or correct its name
        [..]/appspec.yml:8:17: error: the script `./dos.sh` is no file of the bundle; pack it, or take the hook out
        [..]/appspec.yml:10:17: error: the script `bare.sh` is no file of the bundle; pack it, or take the hook out
        [..]/appspec.yml:13:17: error: the script `bare.sh` is no file of the bundle; pack it, or take the hook out
        exit 1
    "#]].assert_eq(&lint(misspelt.path()));

    let missing = spec.replace("AfterInstall", "AfterInstal").replace("bare.sh", "no.sh");
    let missing = bundle(&missing.replace("/a\n    d", "/b\n    d"));
    fs::write(missing.path().join("dos.sh"), "#!/bin/sh\n").unwrap();
    expect![[r#"
        [..]/appspec.yml:7:3: error: `AfterInstal` is not a lifecycle event, so its scripts would never run; did you mean `AfterInstall`?
        [..]/appspec.yml:12:3: warning: `Custom` is not a lifecycle event of hosts, so its scripts never run in a deployment; remove it, or correct its name
        [..]/appspec.yml:4:13: error: the source `/b` is not in the bundle; pack it, or take the entry out
        [..]/appspec.yml:10:17: error: the script `no.sh` is no file of the bundle; pack it, or take the hook out
        [..]/appspec.yml:13:17: error: the script `no.sh` is no file of the bundle; pack it, or take the hook out
        exit 1
    "#]].assert_eq(&lint(missing.path()));
    let archive = place.path().join("missing.tar");
    let mut tar = std::process::Command::new("tar");
    tar.arg("-C").arg(missing.path()).arg("-cf").arg(&archive).args(["a", "appspec.yml", "dos.sh"]);
    assert!(tar.status().unwrap().success());
    expect![[r#"
        appspec.yml:7:3: error: `AfterInstal` is not a lifecycle event, so its scripts would never run; did you mean `AfterInstall`?
        appspec.yml:12:3: warning: `Custom` is not a lifecycle event of hosts, so its scripts never run in a deployment; remove it, or correct its name
        appspec.yml:4:13: error: the source `/b` is not in the bundle; pack it, or take the entry out
        appspec.yml:10:17: error: the script `no.sh` is no file of the bundle; pack it, or take the hook out
        appspec.yml:13:17: error: the script `no.sh` is no file of the bundle; pack it, or take the hook out
        exit 1
    "#]].assert_eq(&lint(&archive));

    let deep = tempfile::tempdir().unwrap();
    fs::create_dir_all(deep.path().join("x/y")).unwrap();
    fs::write(deep.path().join("x/y/appspec.yml"), GOOD).unwrap();
    expect![[r#"
        [..]: error: the bundle has no `appspec.yml` or `appspec.yaml` at its root or in its single top-level folder: `x/y/appspec.yml` lies too deep; pack what is in `x/y`
        exit 1
    "#]].assert_eq(&lint(deep.path()));
}

#[test]
fn status_shows_deployments_uploads_and_why_some_were_refused() {
    let info = |id: &str, status: &str| {
        json!({
            "deploymentId": id, "status": status, "createTime": 1_795_424_400,
            "deploymentOverview": { "Succeeded": 3, "InProgress": 1, "Failed": 0 },
            "deploymentStatusMessages": [format!("Something is left to do for {id}.")],
            "revision": { "s3Location": { "bucket": "revisions", "key": "shop/app.zip" } },
        })
    };
    let service = Service::with(&[
        (
            "ListApplications",
            &[
                json!({ "applications": ["shop"], "nextToken": "2" }),
                json!({ "applications": ["empty"] }),
            ],
        ),
        (
            "ListDeploymentGroups",
            &[json!({ "deploymentGroups": ["web"] }), json!({ "deploymentGroups": [] })],
        ),
        (
            "BatchGetDeploymentGroups",
            &[json!({ "deploymentGroupsInfo": [{
                "applicationName": "shop", "deploymentGroupName": "web",
                "deploymentConfigName": "CodeDeployDefault.OneAtATime",
                "autoRollbackConfiguration": { "enabled": true },
            }] })],
        ),
        (
            "GetGroupStatus",
            &[json!({
                "activeDeploymentId": "d-NEW000000",
                "lastAttemptedDeploymentId": "d-OLD000000",
                "queuedUpload": { "bucket": "revisions", "key": "shop/next.zip", "time": 1_795_424_460, "state": "Waiting" },
                "subscriptions": [{ "bucket": "revisions", "prefix": "shop/" }],
                "uploads": [{
                    "bucket": "revisions", "key": "shop/bad.zip", "state": "Refused", "file": "appspec.yml",
                    "line": 3, "column": 1, "reason": "`os` is missing; add `os: linux`",
                }],
            })],
        ),
        (
            "BatchGetDeployments",
            &[
                json!({ "deploymentsInfo": [info("d-OLD000000", "Failed"), info("d-NEW000000", "InProgress")] }),
            ],
        ),
        (
            "GetProgress",
            &[
                json!({
                    "steps": ["1 host@1m", "10%@5m", "100%"], "stepsDone": 1, "bakingUntil": 1_795_424_460, "paused": true,
                    "alarms": ["home:web errors worse than baseline", "home:web p99>1s"],
                    "alarmNotes": [{ "alarm": "home:web errors worse than baseline", "note": "undecided" }],
                }),
                json!({
                    "alarms": ["home:web p99>1s"], "activatedAlarms": ["home:web p99>1s"],
                    "alarmTime": 1_795_424_400, "trafficBackTime": 1_795_424_400.24,
                }),
            ],
        ),
    ]);
    expect![[r#"
        shop/web  CodeDeployDefault.OneAtATime, rolls back automatically
          active      d-NEW000000  InProgress  (3 succeeded, 1 at work)  2026-11-23 09:00:00Z  s3://revisions/shop/app.zip
                      Something is left to do for d-NEW000000.
                      step 2 of 3: 10% of hosts, baked until 09:01:00Z
                      paused: nothing new starts
                      watched by home:web errors worse than baseline (undecided)
                      watched by home:web p99>1s
                      `cutover resume d-NEW000000` resumes it, `cutover abort d-NEW000000` rolls back
          last        d-OLD000000  Failed  (3 succeeded, 1 at work)  2026-11-23 09:00:00Z  s3://revisions/shop/app.zip
                      Something is left to do for d-OLD000000.
                      alarm home:web p99>1s, since 09:00:00.000Z
                      traffic was taken off the new version at 09:00:00.240Z, 240 ms after the alarm
                      `cutover rollback d-OLD000000` rolls back the hosts that run the new version
          subscribed  s3://revisions/shop/
          queued      s3://revisions/shop/next.zip  2026-11-23 09:01:00Z
          refused     s3://revisions/shop/bad.zip
                      appspec.yml:3:1: `os` is missing; add `os: linux`
        empty  no groups
        exit 0
    "#]].assert_eq(&service.run(&["status"]));
    let (_, status) = service.run_for_json(&["status", "shop/web"]);
    let group = &status["applications"][0]["deploymentGroups"][0];
    assert_eq!(group["deploymentGroupInfo"]["deploymentGroupName"], "web");
    assert_eq!(group["deploymentsInfo"][0]["deploymentId"], "d-NEW000000");
    assert_eq!(group["uploads"][0]["line"], 3);
    assert!(group["deploymentsProgress"]["d-OLD000000"]["alarmTime"].is_number());
}

#[test]
fn each_line_of_a_log_has_its_time_and_the_hook_that_printed_it() {
    let entry = |event: &str, text: &str| json!({ "targetId": "host-1", "lifecycleEventName": event, "time": 1_795_424_410, "text": text });
    let first = "2026-11-23T09:00:01.350Z LifecycleEvent - BeforeInstall\n\
                 2026-11-23T09:00:01.350Z Script - setup.sh\n2026-11-23T09:00:01.900Z [stdout]one\n2026-11-23T09:00";
    let mut cut =
        entry("AfterInstall", "of a longer line\n2026-11-23T09:00:09.000Z [stderr]four\nthe end");
    cut["truncated"] = true.into();
    let pages = [
        json!({ "entries": [entry("BeforeInstall", first)], "next": "1" }),
        json!({ "entries": [
            entry("BeforeInstall", ":02.000Z [stdout]10%\r20%\r\n"),
            entry("AfterInstall", "[stdout]of an older runner\n"),
            cut,
        ] }),
    ];
    let service = Service::with(&[("GetDeploymentLog", &pages)]);
    expect![[r#"
        09:00:01.350Z  host-1  BeforeInstall  Script - setup.sh
        09:00:01.900Z  host-1  BeforeInstall  one
        09:00:02.000Z  host-1  BeforeInstall  10%
        09:00:02.000Z  host-1  BeforeInstall  20%
        09:00:10.000Z  host-1  AfterInstall  of an older runner
        09:00:10.000Z  host-1  AfterInstall  [cutover]output is missing here
        09:00:10.000Z  host-1  AfterInstall  of a longer line
        09:00:09.000Z  host-1  AfterInstall  [stderr]four
        host-1  AfterInstall  the end
        exit 0
    "#]]
    .assert_eq(&service.run(&["logs", "d-A00000000", "--host", "host-1"]));
    assert_eq!(service.asked("GetDeploymentLog")[1]["after"], "1");
    let (_, logs) = service.run_for_json(&["logs", "d-A00000000"]);
    assert_eq!(logs["entries"][1]["text"], "[stdout]of an older runner\n");
}

/// What nobody's terminal may be sent: it clears the screen, sets a title, and turns the text that follows.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{8}\u{202e}x\u{2066}\u{200f}";

#[test]
fn nothing_that_others_chose_steers_the_terminal() {
    let info = json!({
        "deploymentId": "d-A00000000", "status": "Failed", "createTime": 1_795_424_400,
        "applicationName": HOSTILE, "deploymentGroupName": HOSTILE, "deploymentConfigName": HOSTILE,
        "errorInformation": { "code": "HEALTH_CONSTRAINTS", "message": HOSTILE },
        "revision": { "s3Location": { "bucket": "b", "key": HOSTILE } },
        "rollbackInfo": { "rollbackTriggeringDeploymentId": HOSTILE },
    });
    let event = json!({
        "lifecycleEventName": HOSTILE, "status": "Failed", "startTime": 1_795_424_401,
        "diagnostics": { "errorCode": "ScriptFailed", "scriptName": HOSTILE, "message": HOSTILE, "logTail": HOSTILE },
    });
    let target = json!({ "instanceTarget": { "targetId": HOSTILE, "status": "Failed", "lifecycleEvents": [event] } });
    let mut with_hosts = info.clone();
    with_hosts["deploymentOverview"] = json!({ "Failed": 1 });
    let entry = json!({ "targetId": HOSTILE, "lifecycleEventName": HOSTILE, "text": format!("{HOSTILE}\n") });
    let upload = json!({ "bucket": "b", "key": HOSTILE, "state": "Refused", "file": HOSTILE, "reason": HOSTILE });
    let progress = json!({
        "stage": "Ready", "trafficPercent": 5, "newSide": HOSTILE, "oldSide": HOSTILE, "zones": [HOSTILE], "steps": [HOSTILE],
        "alarms": [HOSTILE], "alarmTime": 1_795_424_400, "activatedAlarms": [HOSTILE],
        "alarmNotes": [{ "alarm": HOSTILE, "note": HOSTILE }],
    });
    let service = Service::with(&[
        ("ListApplications", &[json!({ "applications": [HOSTILE] })]),
        ("ListDeploymentGroups", &[json!({ "deploymentGroups": [HOSTILE] })]),
        (
            "BatchGetDeploymentGroups",
            &[json!({ "deploymentGroupsInfo": [{ "deploymentGroupName": HOSTILE }] })],
        ),
        (
            "GetGroupStatus",
            &[json!({ "lastAttemptedDeploymentId": "d-A00000000", "uploads": [upload] })],
        ),
        ("BatchGetDeployments", &[json!({ "deploymentsInfo": [info] })]),
        ("GetDeployment", &[json!({ "deploymentInfo": with_hosts })]),
        ("ListDeploymentTargets", &[json!({ "targetIds": ["host-1"] })]),
        ("BatchGetDeploymentTargets", &[json!({ "deploymentTargets": [target] })]),
        ("GetDeploymentLog", &[json!({ "entries": [entry] })]),
        ("GetProgress", &[progress]),
        ("StopDeployment", &[json!({ "status": "Pending", "statusMessage": HOSTILE })]),
        ("RollBackDeployment", &[refusal("InvalidOperationException", HOSTILE)]),
    ]);
    let id = "d-A00000000";
    for command in
        [&["status"][..], &["watch", id], &["logs", id], &["stop", id], &["rollback", id]]
    {
        for format in ["text", "json"] {
            let told = service.run(&[command, &["--format", format][..]].concat());
            let steers = |c: &char| {
                (c.is_control() && !matches!(c, '\n' | '\t'))
                    || "\u{202e}\u{2066}\u{200f}".contains(*c)
            };
            assert_eq!(told.chars().find(steers), None, "{command:?} as {format}: {told:?}");
            assert!(told.contains('x'), "what is harmless is shown: {told:?}");
        }
    }
    // JSON has all of it, escaped.
    let (_, logs) = service.run_for_json(&["logs", id]);
    assert_eq!(logs["entries"][0]["targetId"], HOSTILE);
}

#[test]
fn what_cannot_be_written_fails_the_command_and_a_reader_that_goes_away_does_not() {
    let pages = [
        json!({ "entries": [{ "targetId": "host-1", "lifecycleEventName": "Install", "text": "one\n" }] }),
    ];
    let service = Service::with(&[
        ("ListApplications", &[json!({ "applications": [] })]),
        ("GetDeploymentLog", &pages),
        ("ListBalancers", &[json!({ "balancers": [] })]),
    ]);
    let dir = service.dir().to_str().unwrap();
    let run = |arguments: &[&str], stdout: Stdio| {
        let output =
            program().args(["--dir", dir]).args(arguments).stdout(stdout).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let commands: [&[&str]; 8] = [
        &["logs", "d-A00000000"],
        &["logs", "d-A00000000", "--format", "json"],
        &["status", "--format", "json"],
        &["balancer", "list", "--format", "json"],
        &["env"],
        &["--help"],
        &["--version"],
        &["completions", "bash"],
    ];
    for arguments in commands {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (exit, told) = run(arguments, full.into());
        assert_eq!(exit, 5, "{arguments:?}: {told}");
        assert!(told.contains("stdout cannot be written to: No space left on device"), "{told}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(arguments, writer.into()), (0, String::new()), "{arguments:?}");
    }
}

#[test]
fn a_log_that_is_followed_ends_when_nobody_reads_it_any_more() {
    let entry = json!({ "targetId": "host-1", "lifecycleEventName": "Install", "text": "one\n" });
    let page = json!({ "entries": [entry], "next": "1" });
    let service = Service::with(&[("GetDeploymentLog", &[page])]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = program()
        .arg("--dir")
        .arg(service.dir())
        .args(["logs", "d-A00000000", "--follow"])
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn stop_rollback_and_subscribe_say_what_comes_next() {
    let service = Service::with(&[
        (
            "StopDeployment",
            &[json!({ "status": "Pending", "statusMessage": "hosts are still at work" })],
        ),
        ("RollBackDeployment", &[json!({ "deploymentId": "d-BACK00000" })]),
        ("Subscribe", &[json!({})]),
    ]);
    let told = [
        service.run(&["stop", "d-A00000000"]),
        service.run(&["rollback", "d-A00000000"]),
        service.run(&["subscribe", "shop/web", "s3://revisions/shop/"]),
    ];
    expect![[r#"
        d-A00000000  stopping: hosts are still at work
        2> next: cutover watch d-A00000000
        exit 0
        d-BACK00000
        2> next: cutover watch d-BACK00000
        exit 0
        Uploads to s3://revisions/shop/ now deploy to shop/web
        2> next: cutover env -- aws s3 cp app.zip s3://revisions/shop/app.zip
        exit 0
    "#]]
    .assert_eq(&told.concat());
    service.run(&["stop", "d-A00000000", "--no-rollback"]);
    let asked = service.asked("StopDeployment");
    assert_eq!(asked[0].get("autoRollbackEnabled"), None);
    assert_eq!(asked[1]["autoRollbackEnabled"], false);
}

#[test]
fn what_the_service_refuses_is_wrong_use() {
    let service = Service::with(&[(
        "ListApplicationRevisions",
        &[refusal("ApplicationDoesNotExistException", "no `shop`")],
    )]);
    expect![[r#"
        2> error: no `shop`
        2>
        2> hint: `cutover status` shows what there is, `cutover init APP/GROUP` makes an application and a group
        exit 2
    "#]].assert_eq(&service.run(&["deploy", "shop/web"]));
    let (exit, told) = service.run_for_json(&["deploy", "shop/web"]);
    assert_eq!((exit, &told["error"]["__type"]), (2, &json!("ApplicationDoesNotExistException")));
    // A hint that the message has already is not said twice.
    let unknown =
        "No deployment has the id `d-X`. `cutover status` shows the deployments of each group.";
    let unknown = [refusal("DeploymentDoesNotExistException", unknown)];
    let other = Service::with(&[
        ("GetDeployment", &unknown),
        ("StopDeployment", &unknown),
        ("GetDeploymentLog", &unknown),
        ("GetProgress", &[refusal("DeploymentDoesNotExistException", "not found")]),
        ("SteerDeployment", &[refusal("DeploymentDoesNotExistException", "not found")]),
    ]);
    for command in ["watch", "stop", "logs"] {
        let told = other.run(&[command, "d-X"]);
        assert_eq!(told.matches("cutover status").count(), 1, "{told}");
    }
    let told = other.run(&["pause", "d-X"]);
    assert!(told.contains("hint: `cutover status` shows the deployments"), "{told}");
    service.sign_with("another-secret");
    expect![[r#"
        2> error: the signature does not match: check the secret access key of `KEY`, and that nothing between the client and this service changes requests
        2>
        2> hint: the keys are those of another service: `cutover env` prints a home's, `--dir DIR` uses them
        exit 2
    "#]].assert_eq(&service.run(&["deploy", "shop/web"]));
}

#[test]
fn wrong_arguments_are_wrong_use_with_json_as_well() {
    let output = program().args(["deploy", "shop", "--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["error"]["exitCode"], 2);
    assert!(!output.stderr.is_empty());
}

#[test]
fn what_does_not_answer_is_not_reachable() {
    let place = tempfile::tempdir().unwrap();
    let none = program().current_dir(place.path()).arg("status").output().unwrap();
    expect![[r#"
        2> error: no Cutover runs in `.cutover`
        2>
        2> hint: start it with `cutover up`, or name the directory of another one with --dir; `cutover connect STACK` connects to one in the cloud
        exit 3
    "#]]
    .assert_eq(&transcript(&none));

    let service = Service::with(&[]);
    let endpoints = service.dir().join("endpoints.json");
    let mut stale: Value = serde_json::from_slice(&fs::read(&endpoints).unwrap()).unwrap();
    // Nobody can listen on port 1 without privileges, and nobody does with them.
    stale["api"] = json!("http://127.0.0.1:1");
    fs::write(&endpoints, stale.to_string()).unwrap();
    expect![[r#"
        2> error: nothing answers at http://127.0.0.1:1: Connection refused (os error 111)
        2>
        2> hint: start it with `cutover up --dir [DIR]`
        exit 3
    "#]]
    .assert_eq(&service.run(&["status"]));

    let environment =
        [("AWS_ENDPOINT_URL_CODEDEPLOY", "http://127.0.0.1:1"), ("AWS_ACCESS_KEY_ID", "K")];
    let mut command = program();
    command.envs(environment).arg("status");
    expect![[r#"
        2> error: AWS_ENDPOINT_URL_CODEDEPLOY is set, but AWS_SECRET_ACCESS_KEY is not
        2>
        2> hint: `eval "$(cutover env)"` sets all of them for a home
        exit 2
    "#]]
    .assert_eq(&transcript(&command.output().unwrap()));
    command.env("AWS_SECRET_ACCESS_KEY", "S");
    expect![[r#"
        2> error: nothing answers at http://127.0.0.1:1: Connection refused (os error 111)
        2>
        2> hint: check AWS_ENDPOINT_URL_CODEDEPLOY and that the service runs; unset it to use `.cutover`
        exit 3
    "#]].assert_eq(&transcript(&command.output().unwrap()));
}

#[test]
fn every_command_is_shown_and_completed() {
    let output = program().args(["completions", "bash"]).output().unwrap();
    let script = String::from_utf8(output.stdout).unwrap();
    let help = String::from_utf8(program().arg("--help").output().unwrap().stdout).unwrap();
    for command in ["connect", "deploy", "env", "init", "proxy", "push", "status", "up", "watch"] {
        assert!(script.contains(&format!("cutover__subcmd__{command}")), "{command}");
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
    }
}
