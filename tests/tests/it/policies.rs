//! The IAM policies of `infra/policies.yaml` against the operations that the API has.

use std::collections::BTreeSet;
use std::fs;

use wire::{codedeploy, cutover};

use crate::house::root;

/// What `Deploy` allows beside what `Read` does.
const DEPLOYING: [&str; 6] = [
    "ContinueDeployment",
    "CreateDeployment",
    "RegisterApplicationRevision",
    "RollBackDeployment",
    "SteerDeployment",
    "StopDeployment",
];

/// What `Hook` allows: what a hook function says, and nobody else.
const HOOK: &str = "PutLifecycleEventHookExecutionStatus";

fn operations() -> BTreeSet<&'static str> {
    let codedeploy = codedeploy::Operation::ALL.iter().map(|operation| operation.name());
    let own = cutover::Operation::ALL.iter().map(|operation| operation.name());
    codedeploy.chain(own).collect()
}

/// The lines of a resource of the template, without its name.
fn policy(name: &str) -> Vec<String> {
    let template = fs::read_to_string(root().join("infra/policies.yaml")).unwrap();
    let mut lines = template.lines().skip_while(|line| *line != format!("  {name}:")).skip(1);
    let is_inside = |line: &&str| line.is_empty() || line.starts_with("   ");
    let lines: Vec<_> = lines.by_ref().take_while(is_inside).map(str::to_owned).collect();
    assert!(lines.contains(&"    Type: AWS::IAM::ManagedPolicy".to_owned()), "{name} is no policy");
    lines
}

/// The operations that a policy names, each once.
fn named(policy: &[String]) -> BTreeSet<&str> {
    let prefix = "              - !Sub \"arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${ApiId}/*/POST/codedeploy/";
    let lines: Vec<_> = policy.iter().filter(|line| line.contains("execute-api:$")).collect();
    let names = lines.iter().map(|line| {
        let name = line.strip_prefix(prefix).and_then(|name| name.strip_suffix('"'));
        name.unwrap_or_else(|| panic!("it is not clear what `{line}` allows"))
    });
    let names: BTreeSet<_> = names.collect();
    assert_eq!(names.len(), lines.len(), "an operation is named twice");
    names
}

#[test]
fn each_operation_is_in_the_policies_that_it_belongs_to_and_no_other_name_is() {
    let all = operations();
    let reads = |name: &&str| ["Get", "BatchGet", "List"].iter().any(|verb| name.starts_with(verb));
    let reading: BTreeSet<_> = all.iter().copied().filter(reads).collect();
    let deploying: BTreeSet<_> = reading.iter().copied().chain(DEPLOYING).collect();
    let hook = BTreeSet::from([HOOK]);
    let people: BTreeSet<_> = all.difference(&hook).copied().collect();
    for (name, expected) in
        [("Read", reading), ("Deploy", deploying), ("Admin", people), ("Hook", hook)]
    {
        assert_eq!(named(&policy(name)), expected, "{name}");
    }
}

#[test]
fn an_operation_has_one_path_of_its_own() {
    let count = codedeploy::Operation::ALL.len() + cutover::Operation::ALL.len();
    assert_eq!(operations().len(), count, "CodeDeploy and Cutover share a name");
}

#[test]
fn the_policies_allow_nothing_else_but_to_connect_and_to_push() {
    for (name, beside) in [
        ("Read", &["cloudformation:DescribeStacks"][..]),
        ("Deploy", &["cloudformation:DescribeStacks", "kms", "s3"]),
        ("Admin", &["cloudformation:DescribeStacks", "kms", "s3"]),
    ] {
        let policy = policy(name);
        let actions = policy.iter().filter_map(|line| line.trim().strip_prefix("Action: "));
        let actions: BTreeSet<_> = actions.collect();
        let mut expected = BTreeSet::from(["execute-api:Invoke"]);
        for action in beside {
            expected.insert(match *action {
                "kms" => "[kms:GenerateDataKey, kms:Decrypt]",
                "s3" => "[s3:PutObject, s3:AbortMultipartUpload, s3:ListMultipartUploadParts]",
                other => other,
            });
        }
        assert_eq!(actions, expected, "{name}");
        assert!(
            policy.iter().all(|line| !line.contains("\"*\"") && !line.contains("Effect: Deny"))
        );
    }
}

#[test]
fn the_stack_has_the_route_that_policies_name_and_the_outputs_that_clients_need() {
    let template = fs::read_to_string(root().join("template.yaml")).unwrap();
    assert!(template.contains("RouteKey: POST /codedeploy/{operation}\n"));
    let (_, outputs) = template.split_once("\nOutputs:\n").unwrap();
    for output in ["ApiUrl", "RevisionsBucket", "KeyArn"] {
        assert!(outputs.contains(&format!("\n  {output}:")), "{output}");
    }
}

#[test]
fn a_policy_stays_within_the_size_that_iam_allows() {
    for name in ["Read", "Deploy", "Admin"] {
        let policy = policy(name);
        let document = policy.iter().skip_while(|line| !line.contains("PolicyDocument:"));
        let document = document.filter(|line| !line.trim_start().starts_with('#'));
        let text: String = document.flat_map(|line| line.split_whitespace()).collect();
        let filled = text
            .replace("!Sub", "")
            .replace("${AWS::Partition}", "aws-us-gov")
            .replace("${AWS::Region}", "ap-southeast-1")
            .replace("${AWS::AccountId}", "123456789012")
            .replace("${ApiId}", "a1b2c3d4e5");
        // As JSON it has a comma or a bracket more here and there.
        assert!(filled.len() < 5_800, "{name} has {} characters of 6,144", filled.len());
    }
}

#[cfg(feature = "tools")]
#[test]
fn cfn_lint_has_nothing_to_say_about_the_policies() {
    let lint = crate::support::tools::tool("cfn-lint");
    let output = std::process::Command::new(lint).arg(root().join("infra/policies.yaml")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
