//! The stored forms of the first schema: a later version must still read them. What is in these files is never changed;
//! a new schema gets files of its own.

use serde_json::Value;

use super::*;

/// Reads a golden body as a row, and writes it again: nothing that was stored may be lost.
fn check<T: Row>(golden: &str) -> T {
    let key = Key::new("p", "s");
    let (listed, waking, expires_at) = (None, None, None);
    let record = Record {
        key,
        schema: 1,
        version: 7,
        body: golden.to_owned(),
        listed,
        waking,
        expires_at,
        rings: false,
    };
    let stored = read::<T>(&record).unwrap();
    assert_eq!(stored.version, 7);
    let written: Value = serde_json::to_value(&stored.row).unwrap();
    let golden: Value = serde_json::from_str(golden).unwrap();
    for (name, value) in golden.as_object().unwrap() {
        assert_eq!(&written[name], value, "`{name}` is lost or changed");
    }
    stored.row
}

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("../../tests/golden/", $name, ".v1.json"))
    };
}

#[test]
fn rows_of_the_first_schema_are_still_read() {
    check::<Application>(golden!("application"));
    check::<GroupName>(golden!("group-name"));
    check::<Group>(golden!("group"));
    check::<Config>(golden!("config"));
    check::<RegisteredRevision>(golden!("revision"));
    check::<OnPremises>(golden!("on-premises"));
    check::<IamArn>(golden!("iam-arn"));
    check::<Subscription>(golden!("subscription"));
    check::<UploadRow>(golden!("upload"));
    check::<StopRow>(golden!("stop"));
    check::<LogRow>(golden!("log"));
    let host = check::<HostRow>(golden!("host-failed"));
    assert_eq!(host.seen().sighting, engine::deployment::Sighting::Failed);
}

#[test]
fn deployments_of_the_first_schema_are_still_read() {
    let failed = check::<DeploymentRow>(golden!("deployment-failed"));
    assert!(failed.waking().is_none(), "it has ended, and wakes no more");
    let running = check::<DeploymentRow>(golden!("deployment-in-flight"));
    let deployment = &running.deployment;
    assert_eq!(deployment.all_outstanding().collect::<Vec<_>>(), [1, 2]);
    assert!(running.waking().is_some());
    assert!(deployment.stop_requested());
}

#[test]
fn a_row_of_a_newer_schema_is_left_alone() {
    let key = Key::new("p", "s");
    let (listed, waking, expires_at) = (None, None, None);
    let record = Record {
        key,
        schema: 2,
        version: 1,
        body: "{}".to_owned(),
        listed,
        waking,
        expires_at,
        rings: false,
    };
    let error = read::<StopRow>(&record).unwrap_err();
    assert!(error.is_passing(), "{error}");
}
