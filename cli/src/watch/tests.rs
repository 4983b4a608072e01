use wire::codedeploy::{
    DeploymentInfo, Diagnostics, InstanceTarget, LifecycleEvent, LifecycleEventStatus, TargetStatus,
};

use super::poll::Snapshot;
use super::text::{changes, failures};

fn silent_host() -> InstanceTarget {
    let event = |name: &str, status, message: Option<&str>| LifecycleEvent {
        lifecycle_event_name: Some(name.to_owned()),
        status: Some(status),
        diagnostics: message.map(|message| Diagnostics {
            message: Some(message.to_owned()),
            ..Diagnostics::default()
        }),
        ..LifecycleEvent::default()
    };
    InstanceTarget {
        target_id: Some("host-3".to_owned()),
        status: Some(TargetStatus::Failed),
        lifecycle_events: Some(vec![
            event("ApplicationStop", LifecycleEventStatus::Unknown, Some("did not answer")),
            event("DownloadBundle", LifecycleEventStatus::Skipped, None),
        ]),
        ..InstanceTarget::default()
    }
}

fn snapshot(targets: Vec<InstanceTarget>) -> Snapshot {
    Snapshot { info: DeploymentInfo::default(), targets, partial: false }
}

#[test]
fn a_host_that_fell_silent_is_told_with_the_event_and_the_reason() {
    let failed = failures(&snapshot(vec![silent_host()]));
    let told: Vec<_> =
        failed.iter().map(|failed| (failed.event.as_deref(), &*failed.message)).collect();
    assert_eq!(told, [(Some("ApplicationStop"), "did not answer")]);
}

#[test]
fn hosts_are_not_counted_before_they_are_known() {
    let lines = changes(None, &snapshot(Vec::new()), engine::Timestamp(0));
    assert!(lines.iter().all(|line| !line.contains("0 hosts")), "{lines:?}");
}
