//! Commands that nobody on a network has ordered: the seam is all that a run of events needs.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use engine::GroupId;
use engine::appspec::FileExistsBehavior;
use engine::lifecycle::Event;
use sha2::{Digest as _, Sha256};
use wire::host::{Bundle, ErrorCode, EventReport, EventStatus, Offer, Specification};

use super::*;
use crate::orders::{NoBundle, Start, Unmet};
use crate::root::HostRoot;
use crate::stop::Stop;

/// Orders that are kept in memory, of a bundle that lies on this machine.
struct Memory {
    bundle: PathBuf,
    /// How many scripts may start.
    scripts: Mutex<usize>,
    /// What the balancer says.
    traffic: Result<(), Unmet>,
    reports: Mutex<Vec<(Vec<EventReport>, HostStatus)>>,
}

impl Orders for Memory {
    async fn permit(&self, start: Start) -> Result<(), String> {
        let mut left = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        match (start, *left) {
            (Start::Event, _) => Ok(()),
            (Start::Script, 0) => Err("that is enough".to_owned()),
            (Start::Script, _) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn report(&self, events: &[EventReport], status: HostStatus) {
        self.reports.lock().unwrap().push((events.to_vec(), status));
    }

    async fn wait_for_traffic(&self, _: Event) -> Result<(), Unmet> {
        self.traffic.clone()
    }

    async fn bundle(&self, bundle: &Bundle, to: &Path) -> Result<(), NoBundle> {
        let bytes = std::fs::read(&self.bundle)?;
        if hex::encode(Sha256::digest(&bytes)) != bundle.sha256 {
            return Err(Box::new(io::Error::other("another bundle")));
        }
        Ok(std::fs::write(to, bytes)?)
    }
}

/// What a command finds and leaves behind.
struct Case {
    dir: tempfile::TempDir,
    specification: Specification,
    orders: Memory,
}

impl Case {
    /// A command of a bundle with one file to install and these scripts, as many of which may start as are given.
    fn new(hooks: &str, scripts: &[(&str, &str)], may_start: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["state", "root"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let appspec = format!(
            "version: 0.0\nos: linux\nfiles:\n  - source: page\n    destination: /srv\nhooks:\n{hooks}"
        );
        let mut archive = tar::Builder::new(Vec::new());
        let files = [("appspec.yml", appspec.as_str()), ("page", "hello\n")];
        for (name, content) in files.iter().chain(scripts) {
            let mut header = tar::Header::new_gnu();
            header.set_size(u64::try_from(content.len()).unwrap());
            header.set_mode(0o755);
            archive.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        let bytes = archive.into_inner().unwrap();
        let bundle = dir.path().join("app.tar");
        std::fs::write(&bundle, &bytes).unwrap();
        let (scripts, reports) = (Mutex::new(may_start), Mutex::default());
        let orders = Memory { bundle, scripts, traffic: Ok(()), reports };
        Self { dir, specification: specification(&bytes), orders }
    }

    async fn run(&self) -> (Vec<EventReport>, HostStatus) {
        let root = HostRoot::Prefix(self.dir.path().join("root"));
        let config = AgentConfig::new(self.dir.path().join("state"), root);
        let (_asked, stop) = Stop::new(config.limits.grace_ms);
        let deployment_id = self.specification.deployment_id.clone();
        let offer = Offer { deployment_id, ordinal: 0, attempt: 1 };
        let command = Command {
            offer: &offer,
            specification: &self.specification,
            host_name: Some("desk"),
            is_pushed: true,
        };
        let end = work(&Host::new(config, stop), &self.orders, &command).await;
        assert_eq!(end, End::Finished(None));
        self.orders.reports.lock().unwrap().last().cloned().unwrap()
    }

    fn installed(&self) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join("root/srv/page")).ok()
    }
}

fn specification(bundle: &[u8]) -> Specification {
    Specification {
        deployment_id: DeploymentId::from_random([1; 9]),
        application_name: "shop".to_owned(),
        deployment_group_name: "desk".to_owned(),
        deployment_group_id: GroupId::from_random([1; 16]),
        generation: 1,
        creator: "user".to_owned(),
        bundle: Bundle {
            bucket: String::new(),
            key: "app.tar".to_owned(),
            version: None,
            e_tag: None,
            sha256: hex::encode(Sha256::digest(bundle)),
            size: u64::try_from(bundle.len()).unwrap(),
        },
        file_exists_behavior: FileExistsBehavior::Disallow,
        ignore_application_stop_failures: false,
        events: [&[Event::BlockTraffic], &Event::IN_PLACE[..], &[Event::AllowTraffic]].concat(),
        held_before: None,
        rerun_interrupted: false,
    }
}

fn event(reports: &[EventReport], wanted: Event) -> (EventStatus, ErrorCode, String, String) {
    let report = reports.iter().find(|it| it.event == wanted).unwrap();
    let told = report.diagnostics.clone().unwrap();
    (report.status, told.error_code, told.message, told.log_tail)
}

#[tokio::test]
async fn a_bundle_from_a_local_path_is_installed_and_the_hook_that_fails_is_told_without_a_server()
{
    let hooks = "  BeforeInstall:\n    - location: greet.sh\n  ValidateService:\n    - location: check.sh\n";
    let scripts = [
        ("greet.sh", "#!/bin/sh\necho $HOST_NAME gets $APPLICATION_NAME\n"),
        ("check.sh", "#!/bin/sh\necho not well\nexit 3\n"),
    ];
    let case = Case::new(hooks, &scripts, usize::MAX);
    let (reports, status) = case.run().await;
    assert_eq!((status, case.installed().as_deref()), (HostStatus::Failed, Some("hello\n")));
    let (greeted, _, _, output) = event(&reports, Event::BeforeInstall);
    assert_eq!(greeted, EventStatus::Succeeded);
    assert!(output.contains("[stdout]desk gets shop"), "{output}");
    let (failed, code, message, output) = event(&reports, Event::ValidateService);
    assert_eq!((failed, code), (EventStatus::Failed, ErrorCode::ScriptFailed));
    assert!(message.contains("`check.sh` failed with exit code 3"), "{message}");
    assert!(output.contains("[stdout]not well"), "{output}");
    assert_eq!(reports.last().unwrap().status, EventStatus::Skipped);
}

#[tokio::test]
async fn a_permit_that_is_withheld_keeps_the_next_script_from_starting() {
    let hooks = "  AfterInstall:\n    - location: one.sh\n    - location: two.sh\n";
    let scripts = [("one.sh", "#!/bin/sh\necho one\n"), ("two.sh", "#!/bin/sh\necho two\n")];
    let case = Case::new(hooks, &scripts, 1);
    let (reports, status) = case.run().await;
    assert_eq!(status, HostStatus::Failed);
    let (skipped, _, message, output) = event(&reports, Event::AfterInstall);
    assert_eq!(skipped, EventStatus::Skipped);
    assert_eq!(message, "1 script has run, and the next one was not begun: that is enough");
    assert!(output.contains("one") && !output.contains("two.sh"), "{output}");
}

#[tokio::test]
async fn a_balancer_that_cannot_keeps_the_install_from_beginning() {
    let mut case = Case::new("", &[], usize::MAX);
    case.orders.traffic = Err(Unmet::Failed("the balancer is out".to_owned()));
    let (reports, status) = case.run().await;
    assert_eq!((status, case.installed()), (HostStatus::Failed, None));
    let (failed, _, message, _) = event(&reports, Event::BlockTraffic);
    assert_eq!((failed, message.as_str()), (EventStatus::Failed, "the balancer is out"));
}

#[tokio::test]
async fn a_bundle_that_is_not_the_one_that_was_ordered_is_not_unpacked() {
    let case = Case::new("", &[], usize::MAX);
    std::fs::write(&case.orders.bundle, "other bytes").unwrap();
    let (reports, status) = case.run().await;
    assert_eq!((status, case.installed()), (HostStatus::Failed, None));
    let (failed, _, message, _) = event(&reports, Event::DownloadBundle);
    assert_eq!((failed, message.as_str()), (EventStatus::Failed, "another bundle"));
}
