//! The commands of README and of the documents, run as they are written. What is not run is listed here, with why; that
//! each of them is understood by the command line is a test of that.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal};

use crate::house::root;
use crate::support::archive::Bundle;
use crate::support::cloud::Cloud;
use crate::support::home::{Home, program};
use crate::support::tools::tool;
use crate::support::{free_port, process, wait_for};

const USE: Section = Section("README.md", "## Use it");
const TRAFFIC: Section = Section("README.md", "### Traffic");
const IN_THE_CLOUD: Section = Section("README.md", "### In the cloud");
const CLIENTS: Section = Section("docs/cloud-clients.md", "## AWS's tools, Terraform, SDKs");
const JUDGED: Section = Section("docs/judge.md", "## As an alarm at home");

/// The sections whose commands are run below.
const RUN: [Section; 5] = [USE, TRAFFIC, IN_THE_CLOUD, CLIENTS, JUDGED];

/// What is set off in a document and not run: how it begins, and why.
const NOT_RUN: [(&str, &str, &str); 14] = [
    ("README.md", "cargo run --bin cutover -- demo", "xtask runs the demo that it builds"),
    ("README.md", "cargo xtask test", "is what runs this"),
    ("README.md", "cargo build --release", "xtask builds the same packages"),
    (
        "README.md",
        "sam build && sam deploy",
        "needs an account; xtask does it in the emulated cloud",
    ),
    ("docs/cloud.md", "cargo build --release", "xtask builds the same packages"),
    (
        "docs/cloud.md",
        "sam build && sam deploy",
        "needs an account; xtask does it in the emulated cloud",
    ),
    ("docs/cloud.md", "cutover = NAME OF THE STACK", "is a tag"),
    ("docs/cloud.md", "{", "is JSON"),
    ("docs/cloud.md", "}", "is JSON"),
    ("docs/cloud.md", "\"", "is JSON"),
    (
        "docs/cloud-clients.md",
        "cutover connect STACK",
        "says what may be said; `connect.rs` runs it",
    ),
    ("docs/cloud-clients.md", "cutover proxy -- terraform", "Terraform is none of the tools"),
    ("infra/README.md", "aws cloudformation", "needs an account; `policies.rs` reads the template"),
    (
        "infra/host/README.md",
        "",
        "sets up another machine, as root; `script.rs` runs what Systems Manager is sent",
    ),
];

/// A document and a heading in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Section(&'static str, &'static str);

impl Section {
    /// Its commands, up to the next heading, without those that are listed as not run.
    fn commands(self) -> Vec<String> {
        let Self(document, heading) = self;
        let all = set_off(document).into_iter();
        let ours = all.filter(|(above, _)| above == heading).map(|(_, line)| line);
        let lines: Vec<String> = ours.filter(|line| not_run(document, line).is_none()).collect();
        assert!(!lines.is_empty(), "{document} has no commands below `{heading}`");
        lines
    }
}

/// Where it is listed why a line is not run.
fn not_run(document: &str, line: &str) -> Option<usize> {
    NOT_RUN.iter().position(|(of, begins, _)| *of == document && line.starts_with(begins))
}

/// The documents for readers, as paths from the root.
fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned()];
    let mut left = vec!["docs".to_owned(), "infra".to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(root().join(&dir)).unwrap().map(Result::unwrap) {
            let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                left.push(path);
            } else if path.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines that are set off in a document, each with the heading above it, without what is said of them.
fn set_off(document: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(document)).unwrap();
    assert!(!text.contains("\n```"), "{document}: set code off by four blanks, as elsewhere");
    let (mut heading, mut found) = (String::new(), Vec::new());
    let mut begun: Option<String> = None;
    for line in text.lines() {
        if line.starts_with('#') {
            line.clone_into(&mut heading);
        }
        let Some(line) = line.strip_prefix("    ") else { continue };
        let whole = begun.take().unwrap_or_default() + line;
        if let Some(open) = whole.strip_suffix('\\') {
            begun = Some(open.to_owned());
            continue;
        }
        let command = whole.split("  #").next().unwrap_or_default().trim().to_owned();
        if !command.is_empty() {
            found.push((heading.clone(), command));
        }
    }
    found
}

#[test]
fn every_command_of_the_documents_is_run_or_it_is_said_why_not() {
    let mut listed = [false; NOT_RUN.len()];
    for document in documents() {
        for (heading, line) in set_off(&document) {
            let is_run = RUN.iter().any(|Section(of, under)| *of == document && *under == heading);
            match not_run(&document, &line) {
                Some(place) => listed[place] = true,
                None => assert!(is_run, "{document}: nothing runs `{line}`, below `{heading}`"),
            }
        }
    }
    for (listed, (document, begins, _)) in listed.into_iter().zip(NOT_RUN) {
        assert!(listed, "{document} has no line any more that begins with `{begins}`");
    }
}

/// A line of a shell in a directory, where `cutover` and AWS's tools are found.
fn shell(line: &str, place: &Path) -> Command {
    let bin = place.join("bin");
    if !bin.exists() {
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(program(), bin.join("cutover")).unwrap();
    }
    let tools = tool("aws");
    let path = std::env::var_os("PATH").unwrap();
    let tools = tools.parent().unwrap();
    let path = format!("{}:{}:{}", bin.display(), tools.display(), path.display());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(place).env("PATH", path).stdin(Stdio::null());
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_PAGER", "");
    command
}

#[track_caller]
fn succeeds(line: &str, mut command: Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` ends with {}: {said}", output.status);
    output
}

#[track_caller]
fn works(line: &str, place: &Path) {
    succeeds(line, shell(line, place));
}

/// A directory in which `.cutover` is a home, with an application for it.
fn place_of(home: &Home) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(home.dir(), place.path().join(".cutover")).unwrap();
    home.shop(8080, 1, 0).unpack(&place.path().join("app"));
    fs::write(place.path().join("app.zip"), home.shop(8080, 2, 0).zip()).unwrap();
    place
}

#[test]
fn the_commands_of_readme_work_one_after_the_other() {
    let home = Home::started(4);
    let place = place_of(&home);
    let mut lines = USE.commands().into_iter();
    assert_eq!(lines.next().as_deref(), Some("cutover up &"), "which is up here already");
    for line in lines {
        works(&line, place.path());
    }
    // The upload of app.zip deploys it, and nothing else does.
    wait_for("the second version on all hosts", || {
        let has_it = |host| home.text(host, "srv/shop/page.txt") == "version 2";
        (1..=4).all(has_it).then_some(())
    });
    assert_eq!(home.deployments().len(), 2);
    home.succeeded(&home.deployments()[0]);
    for line in TRAFFIC.commands() {
        let newest = home.deployments()[0].clone();
        if line.starts_with("cutover continue") {
            wait_for("the deployment to be ready", || {
                (home.deployment(&newest)["status"] == "Ready").then_some(())
            });
        }
        works(&line.replace("ID", &newest), place.path());
    }
    let newest = home.deployments()[0].clone();
    works(&format!("cutover promote {newest}"), place.path());
    let told = home.succeeded(&newest);
    assert_eq!(told["deploymentOverview"]["Succeeded"], 2, "the two blue ones: {told:#}");
}

#[test]
fn the_alarm_of_the_judge_works_as_written() {
    let home = Home::started(1);
    let place = place_of(&home);
    works("cutover balancer add web --target-port 8080", place.path());
    for line in JUDGED.commands() {
        works(&line, place.path());
    }
    works("cutover push ./app shop && cutover deploy shop/web --watch", place.path());
}

/// A line of a shell in the folder of a user who is connected to a cloud.
#[track_caller]
fn works_in(cloud: &Cloud, line: &str) {
    let mut command = shell(line, cloud.folder());
    cloud.set_up(&mut command);
    succeeds(line, command);
}

#[test]
fn the_commands_of_readme_work_in_a_cloud() {
    let home = Home::started(1);
    let cloud = Cloud::connected(&home);
    Bundle::new("from README").unpack(&cloud.folder().join("app"));
    let tags = "Key=role,Value=web";
    works_in(
        &cloud,
        &format!(
            "cutover proxy -- aws deploy add-tags-to-on-premises-instances --instance-names host-1 --tags {tags}"
        ),
    );
    for line in IN_THE_CLOUD.commands() {
        works_in(&cloud, &line.replace("STACK", "shop"));
    }
    assert_eq!(home.text(1, "srv/shop/page.txt"), "from README");
}

#[test]
fn the_commands_for_clients_of_a_cloud_work() {
    let home = Home::started(1);
    let cloud = Cloud::connected(&home);
    Bundle::new("pushed").unpack(&cloud.folder().join("app"));
    home.call("CreateApplication", serde_json::json!({ "applicationName": "shop" }));
    let (mut ran, mut served) = (0, String::new());
    for line in CLIENTS.commands() {
        let line = line.replace("BUCKET", "revisions").replace("7071", &free_port().to_string());
        if line.ends_with('&') {
            // Whoever types this has it up before the next line is typed.
            let all = "until grep -q AWS_SECRET_ACCESS_KEY= proxy.env; do sleep 0.1; done";
            served = format!("{line}\nproxy=$!; trap 'kill $proxy' EXIT; {all}\n");
            continue;
        }
        works_in(&cloud, &format!("{}{line}", std::mem::take(&mut served)));
        ran += 1;
    }
    assert_eq!((ran, served.as_str()), (3, ""));
    let listed = cloud.called().into_iter().filter(|called| called == "ListApplications");
    assert_eq!(listed.count(), 2);
}

#[test]
fn a_demo_that_ends_with_its_home_says_how_to_begin() {
    let place = tempfile::tempdir().unwrap();
    let said = shell("cutover --dir \"$PWD/a home's\" demo --exit 2>&1", place.path()).output();
    let said = String::from_utf8(said.unwrap().stdout).unwrap();
    let (_, next) = said.split_once("Try next:\n").unwrap();
    let lines: Vec<&str> = next.lines().map(|line| line.split('#').next().unwrap()).collect();
    assert_eq!((lines.len(), lines[0].trim()), (2, "cutover demo"));
    let _killed = process::KilledWithTest(place.path().to_owned());
    let mut home = shell(&format!("exec {} --port 0", lines[1]), place.path()).spawn().unwrap();
    wait_for("the home that was told", || {
        assert_eq!(home.try_wait().unwrap(), None, "the home has ended");
        let status = shell("cutover --dir \"$PWD/a home's\" status", place.path()).output();
        String::from_utf8(status.unwrap().stdout).unwrap().contains("shop/web").then_some(())
    });
    process::signal(Pid::from_child(&home), Signal::TERM);
    assert!(home.wait().unwrap().success());
}

#[test]
fn what_the_demo_says_to_try_next_works_as_typed() {
    let place = tempfile::tempdir().unwrap();
    let home = place.path().join("a home's");
    let mut demo = shell("exec cutover --dir \"$PWD/a home's\" demo", place.path());
    let log = fs::File::create(place.path().join("log")).unwrap();
    let mut demo = demo.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let _killed = process::KilledWithTest(place.path().to_owned());
    let lines = wait_for("the end of the story", || {
        assert_eq!(demo.try_wait().unwrap(), None, "the demo has ended");
        let said = fs::read_to_string(place.path().join("log")).unwrap();
        let (_, next) = said.split_once("Try next, in another terminal:\n")?;
        let lines: Vec<String> = next.lines().map(|line| line.trim().to_owned()).collect();
        (lines.len() == 4).then_some(lines)
    });
    let page = home.join("hosts/host-4/root").join("srv/shop/version.txt");
    let mut versions = Vec::new();
    for line in &lines {
        works(line, place.path());
        let deploys = line.contains(" push ") || line.contains(" s3 cp ");
        if deploys {
            versions.push(5 + versions.len() + 1);
            let wanted = format!("shop version {}\n", versions.last().unwrap());
            wait_for(&wanted, || {
                (fs::read_to_string(&page).unwrap_or_default() == wanted).then_some(())
            });
        }
    }
    assert_eq!(versions, [6, 7], "{lines:#?}");
    process::signal(Pid::from_child(&demo), Signal::TERM);
    assert!(demo.wait().unwrap().success());
}
