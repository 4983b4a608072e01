//! The stack: `template.yaml` as users deploy it, with `sam build` and `sam deploy`.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::emulator::{ACCOUNT, Emulator, REGION, ROOT};
use crate::docker::Engine;
use crate::image;
use crate::place::Place;
use crate::run::Command;

/// The stack's name.
const STACK: &str = "cutover";

/// What is packed: the functions, and the runner that one of them brings to hosts.
const PACKED: [&str; 7] = [
    "api",
    "cutover-runner",
    "deployment_stepper",
    "fleet_watcher",
    "hook_dispatcher",
    "revision_intake",
    "traffic_evaluator",
];

/// Builds and deploys the template.
pub(crate) fn deploy(place: &Place, emulator: &Emulator, scratch: &Path) -> Result<()> {
    let built = scratch.join("build");
    build(place, scratch, &built)?;
    emulator
        .client(place, "sam")
        .args(["deploy", "--stack-name", STACK, "--region", REGION])
        .arg_path("--template-file", &built.join("template.yaml"))
        .args(["--capabilities", "CAPABILITY_IAM", "--resolve-s3", "--no-confirm-changeset"])
        .args(["--no-progressbar", "--parameter-overrides", "Emulated=yes"])
        .run()
}

/// Runs `sam build` on what cargo has built.
pub(crate) fn build(place: &Place, scratch: &Path, to: &Path) -> Result<()> {
    let binaries = scratch.join("functions");
    std::fs::create_dir_all(&binaries)?;
    for binary in PACKED {
        // Debug information is most of it, and would be packed, sent and unpacked.
        Command::new(place, "strip")
            .args(["--strip-debug", "-o"])
            .args([&binaries.join(binary), &place.built(binary)?])
            .run()?;
    }
    Command::new(place, place.venv().join("bin/sam"))
        .args(["build", "--build-in-source", "--template", "template.yaml"])
        .arg_path("--build-dir", to)
        .env("BUILT", &binaries)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_DEFAULT_REGION", REGION)
        .run()
}

/// What the tests have to know of the cloud, in the shape that they read.
pub(crate) fn describe(
    place: &Place,
    emulator: &Emulator,
    engine: &Engine,
    scratch: &Path,
) -> Result<Value> {
    let outputs = outputs_of(place, emulator, STACK)?;
    let list = ["cloudformation", "describe-stack-resources", "--stack-name", STACK];
    let resources = emulator.aws(place, &list)?;
    let resources =
        pairs(&resources, "/StackResources", "LogicalResourceId", "PhysicalResourceId")?;
    let image = emulator.aws(
        place,
        &["ec2", "register-image", "--name", "host", "--image-location", image::HOST],
    )?;
    let users = users(place, emulator, &outputs)?;
    Ok(json!({
        "endpoint": emulator.endpoint,
        "address": engine.gateway,
        "authority": emulator.authority,
        "log": emulator.log,
        "region": REGION,
        "account": ACCOUNT,
        "stack": STACK,
        "outputs": outputs,
        "resources": resources,
        "image": text(&image, "/ImageId")?,
        "docker_host": engine.host(),
        "tools": place.venv().join("bin"),
        "cutover": place.built("cutover")?,
        "scratch": scratch,
        "users": users,
    }))
}

/// Allows roles on everything what the template allows them on resources with a tag: the emulator knows of no tags when
/// it asks. No role is allowed an action by this that it has no right to.
pub(crate) fn ignore_tags(place: &Place, emulator: &Emulator) -> Result<()> {
    let all = ["iam", "get-account-authorization-details", "--filter", "Role"];
    let all = emulator.aws(place, &all)?;
    let members = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    for role in members(&all, "RoleDetailList") {
        let mut actions: Vec<Value> = members(&role, "RolePolicyList")
            .iter()
            .filter_map(|policy| policy.get("PolicyDocument"))
            .flat_map(|document| members(document, "Statement"))
            .filter(is_by_tag)
            .filter_map(|statement| statement.get("Action").cloned())
            .flat_map(|action| action.as_array().cloned().unwrap_or_else(|| vec![action]))
            .collect();
        if actions.is_empty() {
            continue;
        }
        if actions.contains(&json!("lambda:GetAlias")) {
            // What the emulator takes all requests about one alias for.
            actions.push(json!("lambda:ListAliases"));
        }
        let name = text(&role, "/RoleName")?;
        let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": "*" });
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let put = ["iam", "put-role-policy", "--policy-name", "without-tags", "--role-name", name];
        emulator.aws(place, &[&put[..], &["--policy-document", &policy]].concat())?;
    }
    Ok(())
}

fn is_by_tag(statement: &Value) -> bool {
    let conditions = statement.get("Condition").and_then(Value::as_object);
    conditions.into_iter().flat_map(serde_json::Map::values).any(|keys| {
        let keys = keys.as_object().into_iter().flat_map(serde_json::Map::keys);
        keys.map(|key| key.to_ascii_lowercase()).any(|key| key.contains(":resourcetag/"))
    })
}

/// Deploys the policies for people, as `infra/README.md` tells, and makes a user for each, and one who has none.
fn users(place: &Place, emulator: &Emulator, outputs: &Value) -> Result<Value> {
    let name = format!("{STACK}-policies");
    let parameter = |name: &str| {
        Ok::<_, anyhow::Error>(format!("{name}={}", text(outputs, &format!("/{name}"))?))
    };
    let url = text(outputs, "/ApiUrl")?;
    let api = url.trim_start_matches("https://").split('.').next().unwrap_or_default();
    emulator
        .client(place, "aws")
        .args(["cloudformation", "deploy", "--stack-name", &name])
        .args(["--template-file", "infra/policies.yaml", "--capabilities", "CAPABILITY_IAM"])
        .args(["--parameter-overrides", &format!("CutoverStack={STACK}"), &format!("ApiId={api}")])
        .args([parameter("RevisionsBucket")?, parameter("KeyArn")?])
        .run()?;
    let policies = outputs_of(place, emulator, &name)?;
    let mut users = serde_json::Map::new();
    for (name, policy) in [
        ("reader", Some("ReadPolicy")),
        ("deployer", Some("DeployPolicy")),
        ("admin", Some("AdminPolicy")),
        ("stranger", None),
    ] {
        let user = ["--user-name", name];
        emulator.aws(place, &[&["iam", "create-user"][..], &user].concat())?;
        if let Some(policy) = policy {
            let arn = text(&policies, &format!("/{policy}"))?;
            let attach = ["iam", "attach-user-policy", "--policy-arn", arn];
            emulator.aws(place, &[&attach[..], &user].concat())?;
        }
        let key = emulator.aws(place, &[&["iam", "create-access-key"][..], &user].concat())?;
        let id = text(&key, "/AccessKey/AccessKeyId")?;
        let secret = text(&key, "/AccessKey/SecretAccessKey")?;
        users.insert(name.to_owned(), json!({ "id": id, "secret": secret }));
    }
    let [id, secret] = ROOT.map(|(_, value)| value);
    users.insert("root".to_owned(), json!({ "id": id, "secret": secret }));
    Ok(Value::Object(users))
}

/// The outputs of a stack that was made.
fn outputs_of(place: &Place, emulator: &Emulator, name: &str) -> Result<Value> {
    let stack =
        emulator.aws(place, &["cloudformation", "describe-stacks", "--stack-name", name])?;
    let status = text(&stack, "/Stacks/0/StackStatus")?;
    ensure!(status == "CREATE_COMPLETE", "the stack {name} is {status}");
    pairs(&stack, "/Stacks/0/Outputs", "OutputKey", "OutputValue")
}

/// An object of the members of a list, each of which has a name and a value.
fn pairs(value: &Value, list: &str, name: &str, value_of: &str) -> Result<Value> {
    let Some(list) = value.pointer(list).and_then(Value::as_array) else {
        bail!("there is no `{list}` in {value}")
    };
    list.iter()
        .map(|pair| {
            let name = text(pair, &format!("/{name}"))?.to_owned();
            Ok((name, pair.get(value_of).cloned().unwrap_or_default()))
        })
        .collect::<Result<serde_json::Map<_, _>>>()
        .map(Value::Object)
}

fn text<'v>(value: &'v Value, pointer: &str) -> Result<&'v str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("there is no text at `{pointer}` in {value}"))
}
