//! Who may do what, and the command line as people use it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::archive::Bundle;
use crate::cloud::Cloud;
use crate::hosts::Host;

/// A person with a folder, who finds the API by its name.
struct Person<'c> {
    cloud: &'c Cloud,
    who: &'static str,
    folder: PathBuf,
}

impl<'c> Person<'c> {
    fn new(cloud: &'c Cloud, who: &'static str) -> Self {
        let folder = cloud.scratch(&format!("folder-of-{who}"));
        // Of the names that AWS's own servers have, this one leads to the emulator.
        let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
        let (address, (name, _)) = (cloud.get_text("/address"), cloud.api_host());
        fs::write(folder.join("hosts"), format!("{hosts}\n{address} {name}\n")).unwrap();
        Self { cloud, who, folder }
    }

    /// Runs `cutover`, which succeeds, and gives back what it prints.
    #[track_caller]
    fn cutover(&self, args: &[&str]) -> String {
        let (done, printed, said) = self.try_cutover(args);
        assert!(done, "cutover {args:?}: {said}{}", self.cloud.said());
        printed
    }

    /// Runs `cutover` where the names of hosts are ours; gives back whether it succeeded, and what it printed and said.
    fn try_cutover(&self, args: &[&str]) -> (bool, String, String) {
        let mut command = Command::new("unshare");
        let bind = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", bind]);
        command.arg(self.folder.join("hosts")).arg(self.cloud.get_text("/cutover")).args(args);
        self.cloud.set_up(command.current_dir(&self.folder), self.who);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }
}

#[test]
fn each_policy_allows_what_it_says_and_nothing_more() {
    let cloud = Cloud::get();
    assert_eq!(cloud.get_path("/cutover/v1/health").0, 200);
    let make = |name: &str| json!({ "applicationName": name });
    let stop = json!({ "deploymentId": "d-000000000" });
    for (who, lists, stops, makes) in [
        ("admin", 200, 400, 200),
        ("deployer", 200, 400, 403),
        ("reader", 200, 403, 403),
        ("stranger", 403, 403, 403),
    ] {
        let status = |operation: &str, request: &Value| {
            let Err(refused) = cloud.try_call(who, operation, request) else { return 200 };
            // It is IAM that refuses, before the function is asked.
            let is_by_iam = refused.body.contains("execute-api:Invoke");
            assert_eq!(refused.status == 403, is_by_iam, "{who} {operation}: {refused:?}");
            refused.status
        };
        assert_eq!(status("ListApplications", &json!({})), lists, "{who} lists");
        assert_eq!(status("StopDeployment", &stop), stops, "{who} stops what is not there");
        assert_eq!(status("CreateApplication", &make(&format!("of-{who}"))), makes, "{who} makes");
    }
}

#[test]
fn the_command_line_connects_by_the_stacks_name_pushes_deploys_and_signs_for_the_aws_cli() {
    let cloud = Cloud::get();
    let hosts = Host::start(&cloud, 1, "line");
    let admin = Person::new(&cloud, "admin");
    admin.cutover(&["connect", cloud.get_text("/stack")]);
    admin.cutover(&["init", "line/line", "--tag", "role=line"]);

    let deployer = Person::new(&cloud, "deployer");
    deployer.cutover(&["connect", cloud.get_text("/stack")]);
    let app = deployer.folder.join("app");
    Bundle::new("pushed").hook("ValidateService", "echo all is well").unpack(&app);
    deployer.cutover(&["push", "app", "line"]);
    let told = deployer.cutover(&["deploy", "line/line", "--watch", "--format", "json"]);
    assert_eq!(hosts[0].text("/srv/shop/page.txt"), "pushed", "{told}");

    let aws = cloud.tool("aws");
    let list = ["deploy", "list-deployments", "--application-name", "line"];
    let group = ["--deployment-group-name", "line", "--output", "json"];
    let proxy = ["proxy", "--", aws.to_str().unwrap()];
    let listed = deployer.cutover(&[&proxy[..], &list, &group].concat());
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let id = listed["deployments"][0].as_str().unwrap_or_else(|| panic!("{listed:#}"));
    assert!(deployer.cutover(&["logs", id]).contains("all is well"));

    let (done, _, said) = deployer.try_cutover(&["init", "other/other", "--tag", "role=line"]);
    assert!(
        !done && said.contains("execute-api:Invoke"),
        "a deployer makes no applications: {said}"
    );
}
