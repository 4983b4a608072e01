//! The cloud installation's template: what linters say of it, and that SAM builds it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::place::Place;
use crate::run::Command;

/// What the rules are looked up for, and what a translation is for; nothing is asked of AWS.
const REGION: &str = "us-east-1";

/// Lints the template, builds it as a user does, and lints what CloudFormation is given.
pub(crate) fn check(place: &Place) -> Result<String> {
    let more = more(place)?;
    let tool = |name: &str| {
        let command = Command::new(place, place.venv().join("bin").join(name));
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_DEFAULT_REGION", REGION)
    };
    tool("sam")
        .args(["validate", "--lint", "--template", "template.yaml", "--region", REGION])
        .run()?;
    // `sam` has the same linter and does not tell of what it found where.
    tool("cfn-lint").args(["template.yaml"]).args(&more).run()?;

    let scratch = place.scratch("template")?;
    build(place, tool("sam"), &scratch.join("functions"), &scratch.join("built"))?;

    let translated = scratch.join("template.json");
    tool("python").args(["xtask/src/translate.py", "template.yaml"]).args([&translated]).run()?;
    tool("python")
        .args(["xtask/src/upgrade.py", "infra/released.json"])
        .args([&translated])
        .run()?;
    // Without a word on the internet, where it would look for longer descriptions of its rules.
    let checkov = Command::new(place, place.checkov_venv().join("bin/checkov"))
        .env("LOG_LEVEL", "CRITICAL")
        .args(["--framework", "cloudformation", "--skip-download", "--compact", "--quiet"]);
    let files = std::iter::once(&translated).chain(&more);
    let checkov = files.fold(checkov, |checkov, file| checkov.args(["--file"]).args([file]));
    let mut counted = None;
    checkov.each_line(|line| counted = counted.take().or_else(|| passed(line)))?;
    // A file that cannot be read is no failure to it.
    let counted = counted.context("checkov did not say how many checks passed")?;
    ensure!(
        counted >= RULES_MIN,
        "only {counted} checks of checkov passed; did it read the files?"
    );
    Ok(format!("the template ({} files, {counted} checks of checkov)", 1 + more.len()))
}

/// How many checks pass at least: a template that was not understood passes none.
const RULES_MIN: u64 = 100;

/// The number in `Passed checks: 123, Failed checks: 0, Skipped checks: 27`.
fn passed(line: &str) -> Option<u64> {
    line.strip_prefix("Passed checks: ")?.split(',').next()?.trim().parse().ok()
}

/// Further templates.
fn more(place: &Place) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place.tree.join("infra"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Runs `sam build` with a file in place of each binary: what is packed is the affair of the makefile.
fn build(place: &Place, sam: Command, binaries: &PathBuf, to: &PathBuf) -> Result<()> {
    std::fs::create_dir_all(binaries)?;
    let mut functions = 0_u32;
    for entry in std::fs::read_dir(place.tree.join("functions/src/bin"))? {
        let name = entry?.path().file_stem().context("a function without a name")?.to_owned();
        std::fs::write(binaries.join(&name), name.as_encoded_bytes())?;
        functions += 1;
    }
    std::fs::write(binaries.join("cutover-runner"), "the runner")?;
    sam.args(["build", "--build-dir"]).args([to]).env("BUILT", binaries).run()?;
    let mut packed = 0_u32;
    for entry in std::fs::read_dir(to)? {
        packed += u32::from(entry?.path().join("bootstrap").is_file());
    }
    ensure!(packed == functions, "{packed} of {functions} functions were packed");
    let runner = to.join("HookDispatcher/cutover-runner");
    ensure!(
        runner.is_file(),
        "the runner was not packed with the function that brings it to hosts"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn the_count_of_checkov_is_read() {
        assert_eq!(passed("Passed checks: 123, Failed checks: 0, Skipped checks: 27"), Some(123));
        assert_eq!(passed("cloudformation scan results:"), None);
    }
}
