//! Deployments that are watched, with the output piped.

use expect_test::expect;
use serde_json::{Value, json};

use crate::service::Service;

/// 2026-11-23T09:00:00Z.
const START: f64 = 1_795_424_400.0;

fn deployment(id: &str, status: &str, overview: Value, more: Value) -> Value {
    let mut info = json!({
        "applicationName": "shop",
        "deploymentGroupName": "web",
        "deploymentConfigName": "CodeDeployDefault.OneAtATime",
        "deploymentId": id,
        "revision": { "revisionType": "S3", "s3Location": { "bucket": "revisions", "key": "shop/app.zip", "bundleType": "zip" } },
        "status": status,
        "createTime": START,
        "deploymentOverview": overview,
    });
    for (name, value) in more.as_object().unwrap() {
        info[name] = value.clone();
    }
    json!({ "deploymentInfo": info })
}

fn host(name: &str, status: &str, events: &[(&str, &str, f64, Option<f64>)]) -> Value {
    let events = events.iter().map(|(name, status, start, end)| {
        let mut event = json!({ "lifecycleEventName": name, "status": status, "startTime": START + start });
        if let Some(end) = end {
            event["endTime"] = json!(START + end);
        }
        if *status == "Failed" {
            event["diagnostics"] = json!({ "errorCode": "ScriptFailed", "scriptName": "check.sh", "message": "exit code 7" });
        }
        event
    });
    let events: Vec<Value> = events.collect();
    let target = json!({ "targetId": name, "status": status, "lifecycleEvents": events, "lastUpdatedAt": START + 1.0 });
    json!({ "deploymentTargetType": "InstanceTarget", "instanceTarget": target })
}

fn targets(targets: &[Value]) -> Value {
    json!({ "deploymentTargets": targets })
}

fn two_hosts() -> Value {
    json!({ "targetIds": ["host-1", "host-2"] })
}

/// One that succeeds in three looks.
fn good() -> Service {
    let done = ("Install", "Succeeded", 0.1, Some(1.35));
    // A deployment that named an older one has registered that later.
    let by_name = json!({
        "revisionLocation": { "revisionType": "old" },
        "genericRevisionInfo": {
            "description": "Application revision registered by Deployment ID: d-OLD000000",
        },
    });
    let pushed = json!({ "revisionLocation": { "revisionType": "S3" }, "genericRevisionInfo": {} });
    Service::with(&[
        (
            "ListApplicationRevisions",
            &[json!({ "revisions": [{ "revisionType": "old" }, { "revisionType": "S3" }] })],
        ),
        ("BatchGetApplicationRevisions", &[json!({ "revisions": [by_name, pushed] })]),
        ("GetApplicationRevision", &[json!({})]),
        ("CreateDeployment", &[json!({ "deploymentId": "d-GOOD00000" })]),
        (
            "GetDeployment",
            &[
                deployment(
                    "d-GOOD00000",
                    "InProgress",
                    json!({ "Pending": 1, "InProgress": 1 }),
                    json!({}),
                ),
                deployment(
                    "d-GOOD00000",
                    "InProgress",
                    json!({ "Succeeded": 1, "InProgress": 1 }),
                    json!({}),
                ),
                deployment(
                    "d-GOOD00000",
                    "Succeeded",
                    json!({ "Succeeded": 2 }),
                    json!({ "completeTime": START + 62.5 }),
                ),
            ],
        ),
        ("ListDeploymentTargets", &[two_hosts()]),
        (
            "BatchGetDeploymentTargets",
            &[
                targets(&[
                    host("host-1", "InProgress", &[("Install", "InProgress", 0.1, None)]),
                    host("host-2", "Pending", &[]),
                ]),
                targets(&[
                    host("host-1", "Succeeded", &[done]),
                    host("host-2", "InProgress", &[("Install", "InProgress", 2.0, None)]),
                ]),
                targets(&[host(
                    "host-2",
                    "Succeeded",
                    &[("Install", "Succeeded", 2.0, Some(62.0))],
                )]),
            ],
        ),
    ])
}

/// One that fails on its second host, and its rollback.
fn bad() -> Service {
    let failed = json!({
        "completeTime": START + 3.0,
        "errorInformation": { "code": "HEALTH_CONSTRAINTS", "message": "too many hosts failed" },
        "rollbackInfo": { "rollbackDeploymentId": "d-BACK00000" },
    });
    let back = json!({
        "completeTime": START + 5.0,
        "creator": "codeDeployRollback",
        "rollbackInfo": { "rollbackTriggeringDeploymentId": "d-BAD000000" },
    });
    let good = host("host-1", "Succeeded", &[("ValidateService", "Succeeded", 0.5, Some(0.6))]);
    let bad = host(
        "host-2",
        "Failed",
        &[("Install", "Succeeded", 1.0, Some(2.0)), ("ValidateService", "Failed", 2.0, Some(2.5))],
    );
    let log = |text: &str, next: Option<&str>| {
        let entries = if text.is_empty() {
            json!([])
        } else {
            json!([{ "targetId": "host-2", "text": text }])
        };
        json!({ "entries": entries, "next": next })
    };
    Service::with(&[
        (
            "GetDeployment",
            &[
                deployment("d-BAD000000", "Failed", json!({ "Succeeded": 1, "Failed": 1 }), failed),
                deployment("d-BACK00000", "Succeeded", json!({ "Succeeded": 2 }), back),
            ],
        ),
        ("ListDeploymentTargets", &[two_hosts()]),
        (
            "BatchGetDeploymentTargets",
            &[targets(&[good.clone(), bad]), targets(&[good, host("host-2", "Succeeded", &[])])],
        ),
        (
            "GetDeploymentLog",
            &[
                log("checking\n", Some("1")),
                log("\u{1b}[31mno answer\u{1b}[0m\n", Some("2")),
                log("", Some("2")),
            ],
        ),
    ])
}

#[test]
fn a_deployment_that_succeeds_is_told_line_by_line() {
    let service = good();
    expect![[r#"
        09:00:00.000Z  d-GOOD00000  shop/web, s3://revisions/shop/app.zip, CodeDeployDefault.OneAtATime, 2 hosts
        09:00:00.100Z  host-1  Install
        09:00:01.350Z  host-1  Succeeded in 1.2 s
        09:00:02.000Z  host-2  Install
        09:01:02.000Z  host-2  Succeeded in 1 min 00 s
        09:01:02.500Z  d-GOOD00000  Succeeded in 1 min 02 s
        exit 0
    "#]]
    .assert_eq(&service.run(&["deploy", "shop/web", "--watch"]));
    assert_eq!(service.asked("CreateDeployment")[0]["revision"]["revisionType"], "S3");
    // A host that is done is not asked for again.
    assert_eq!(service.asked("BatchGetDeploymentTargets")[2]["targetIds"], json!(["host-2"]));
    assert_eq!(service.asked("ListDeploymentTargets").len(), 1);
}

#[test]
fn a_ladder_is_told_step_by_step_and_so_is_the_alarm_that_fires() {
    let steps = json!(["1 host@1m", "100%"]);
    let at = |seconds: f64| json!(START + seconds);
    let progress = [
        json!({ "steps": steps, "stepsDone": 0, "alarms": ["home:web p99>1s"] }),
        json!({ "steps": steps, "stepsDone": 0, "bakingUntil": at(60.0), "paused": true }),
        json!({ "steps": steps, "stepsDone": 0, "bakingUntil": at(60.0) }),
        json!({
            "steps": steps, "stepsDone": 1, "alarmTime": at(61.0), "activatedAlarms": ["home:web p99>1s"],
            "trafficBackTime": at(61.2),
        }),
    ];
    let under_way = deployment("d-LADDER000", "InProgress", json!({ "InProgress": 1 }), json!({}));
    let more = json!({
        "completeTime": START + 62.0,
        "errorInformation": { "code": "ALARM_ACTIVE", "message": "an alarm" },
    });
    let failed = deployment("d-LADDER000", "Stopped", json!({ "Succeeded": 1 }), more);
    let service = Service::with(&[
        ("GetDeployment", &[under_way.clone(), under_way.clone(), under_way, failed]),
        ("ListDeploymentTargets", &[json!({ "targetIds": ["host-1"] })]),
        ("BatchGetDeploymentTargets", &[targets(&[host("host-1", "Succeeded", &[])])]),
        ("GetProgress", &progress),
    ]);
    let told = service.run(&["watch", "d-LADDER000"]);
    let lines: Vec<&str> = told.lines().collect();
    let news = |text: &str| lines.iter().any(|line| line.ends_with(&format!("Z  {text}")));
    for text in [
        "step 1 of 2: 1 host",
        "step 1 of 2: 1 host, bakes until 09:01:00Z",
        "paused: nothing new starts",
        "resumed",
        "step 2 of 2: 100% of hosts; ended there",
        "alarm home:web p99>1s, since 09:01:01.000Z",
        "traffic was taken off the new version at 09:01:01.200Z, 200 ms after the alarm",
    ] {
        assert!(news(text), "`{text}` is not told: {told}");
    }
    let (_, told) = service.run_for_json(&["watch", "d-LADDER000"]);
    assert_eq!(told["progress"]["activatedAlarms"], json!(["home:web p99>1s"]));
}

#[test]
fn a_failure_is_told_with_the_hooks_output_and_its_rollback_is_watched() {
    expect![[r#"
        09:00:00.000Z  d-BAD000000  shop/web, s3://revisions/shop/app.zip, CodeDeployDefault.OneAtATime, 2 hosts
        09:00:00.500Z  host-1  ValidateService
        09:00:00.600Z  host-1  Succeeded in 100 ms
        09:00:01.000Z  host-2  Install
        09:00:02.000Z  host-2  ValidateService
        09:00:02.500Z  host-2  Failed at ValidateService in 1.5 s
        09:00:03.000Z  d-BAD000000  Failed in 3.0 s: HEALTH_CONSTRAINTS: too many hosts failed
        host-2 failed at ValidateService: ScriptFailed: `check.sh`: exit code 7
          | checking
          | no answer
          whole output: cutover logs d-BAD000000 --host host-2 --event ValidateService
        d-BACK00000 rolls d-BAD000000 back
        09:00:00.000Z  d-BACK00000  shop/web, rolls back d-BAD000000, s3://revisions/shop/app.zip, CodeDeployDefault.OneAtATime, 2 hosts
        09:00:00.500Z  host-1  ValidateService
        09:00:00.600Z  host-1  Succeeded in 100 ms
        09:00:01.000Z  host-2  Succeeded
        09:00:05.000Z  d-BACK00000  Succeeded in 5.0 s
        2> error: deployment `d-BAD000000` ended as Failed: HEALTH_CONSTRAINTS: too many hosts failed
        2>
        2> hint: `cutover logs d-BAD000000 --host host-2 --event ValidateService` shows the hook's output; `cutover watch d-BACK00000` shows the rollback
        exit 1
    "#]].assert_eq(&bad().run(&["watch", "d-BAD000000"]));
}

#[test]
fn with_json_there_is_one_object_with_the_members_of_codedeploy() {
    let (exit, told) = bad().run_for_json(&["watch", "d-BAD000000"]);
    assert_eq!(exit, 1);
    assert_eq!(told["deploymentInfo"]["status"], "Failed");
    assert_eq!(told["deploymentInfo"]["rollbackInfo"]["rollbackDeploymentId"], "d-BACK00000");
    assert_eq!(
        told["deploymentTargets"][1]["instanceTarget"]["lifecycleEvents"][1]["status"],
        "Failed"
    );
    assert_eq!(told["rollback"]["deploymentInfo"]["deploymentId"], "d-BACK00000");
    assert_eq!(told["rollback"]["deploymentTargets"][0]["instanceTarget"]["targetId"], "host-1");
}

#[test]
fn a_watch_whose_time_is_over_ends_with_4_and_the_state_so_far() {
    let service = Service::with(&[
        (
            "GetDeployment",
            &[deployment("d-SLOW00000", "InProgress", json!({ "InProgress": 1 }), json!({}))],
        ),
        ("ListDeploymentTargets", &[json!({ "targetIds": ["host-1"] })]),
        ("BatchGetDeploymentTargets", &[targets(&[host("host-1", "InProgress", &[])])]),
    ]);
    let (exit, told) = service.run_for_json(&["watch", "d-SLOW00000", "--timeout", "1"]);
    assert_eq!((exit, &told["deploymentInfo"]["status"]), (4, &json!("InProgress")));
    expect![[r#"
        09:00:00.000Z  d-SLOW00000  shop/web, s3://revisions/shop/app.zip, CodeDeployDefault.OneAtATime, 1 host
        2> error: deployment `d-SLOW00000` has not ended after 1 s
        2>
        2> hint: the deployment goes on: `cutover watch d-SLOW00000` shows it again, `cutover stop d-SLOW00000` stops it
        exit 4
    "#]].assert_eq(&service.run(&["watch", "d-SLOW00000", "--timeout", "1"]));
}

#[test]
fn a_large_fleet_is_told_in_counts_with_the_hosts_that_failed() {
    let of = |status: &str, pending: u64, succeeded: u64, more| {
        deployment(
            "d-HUGE00000",
            status,
            json!({ "Pending": pending, "Succeeded": succeeded, "InProgress": 1, "Failed": 1 }),
            more,
        )
    };
    let end = json!({ "completeTime": START + 9.0 });
    let service = Service::with(&[
        (
            "GetDeployment",
            &[
                of("InProgress", 998, 0, json!({})),
                of("InProgress", 997, 1, json!({})),
                of("Succeeded", 0, 998, end),
            ],
        ),
        ("GetDeploymentLog", &[json!({ "entries": [] })]),
        ("ListDeploymentTargets", &[json!({ "targetIds": ["host-7"], "nextToken": null })]),
        (
            "BatchGetDeploymentTargets",
            &[targets(&[host("host-7", "Failed", &[("Install", "Failed", 1.0, Some(1.5))])])],
        ),
    ]);
    let told = service.run(&["watch", "d-HUGE00000"]);
    let without_times: Vec<&str> =
        told.lines().map(|line| line.split_once("Z  ").map_or(line, |(_, rest)| rest)).collect();
    expect![[r#"
        d-HUGE00000  shop/web, s3://revisions/shop/app.zip, CodeDeployDefault.OneAtATime, 1000 hosts
        host-7  Failed at Install in 500 ms
        1 of 1000 hosts done, 1 at work, 1 failed
        999 of 1000 hosts done, 1 at work, 1 failed
        d-HUGE00000  Succeeded in 9.0 s
        host-7 failed at Install: ScriptFailed: `check.sh`: exit code 7
        exit 0"#]]
    .assert_eq(&without_times.join("\n"));
    let filters: Vec<Value> = service
        .asked("ListDeploymentTargets")
        .iter()
        .map(|asked| asked["targetFilters"]["TargetStatus"][0].clone())
        .collect();
    assert_eq!(filters[..2], [json!("Failed"), json!("InProgress")]);
}
