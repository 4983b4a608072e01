//! The commands of README, run as they are written.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::house::root;
use crate::support::home::{Home, program};
use crate::support::tools::tool;
use crate::support::wait_for;

/// The commands below a heading of README, up to the next one: those that are set off, without what is said of them.
fn commands(heading: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let section = text.lines().skip_while(|line| *line != heading).skip(1);
    let section = section.take_while(|line| !line.starts_with('#'));
    let lines: Vec<&str> = section.filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(!lines.is_empty(), "README has no commands below `{heading}`");
    let whole = lines.join("\n").replace("\\\n", " ");
    let said = |line: &str| line.split("  #").next().unwrap_or(line).trim().to_owned();
    whole.lines().map(said).filter(|line| !line.is_empty()).collect()
}

/// Runs a line of a shell in a directory, where `cutover` and AWS's tools are found.
fn run(line: &str, place: &Path) -> Output {
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
    command.output().unwrap()
}

#[track_caller]
fn succeeds(line: &str, place: &Path) {
    let output = run(line, place);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` ends with {}: {said}", output.status);
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
    let mut lines = commands("## Use it").into_iter();
    assert_eq!(lines.next().as_deref(), Some("cutover up &"), "which is up here already");
    for line in lines {
        succeeds(&line, place.path());
    }
    // The upload of app.zip deploys it, and nothing else does.
    wait_for("the second version on all hosts", || {
        let has_it = |host| home.text(host, "srv/shop/page.txt") == "version 2";
        (1..=4).all(has_it).then_some(())
    });
    assert_eq!(home.deployments().len(), 2);
    home.succeeded(&home.deployments()[0]);
    for line in commands("### Traffic") {
        let newest = home.deployments()[0].clone();
        if line.starts_with("cutover continue") {
            wait_for("the deployment to be ready", || {
                (home.deployment(&newest)["status"] == "Ready").then_some(())
            });
        }
        succeeds(&line.replace("ID", &newest), place.path());
    }
    let newest = home.deployments()[0].clone();
    succeeds(&format!("cutover promote {newest}"), place.path());
    let told = home.succeeded(&newest);
    assert_eq!(told["deploymentOverview"]["Succeeded"], 2, "the two blue ones: {told:#}");
}
