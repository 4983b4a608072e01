//! The template on an emulated cloud, with EC2 hosts as containers: what is started for the tests in `tests/tests/cloud/`.

mod emulator;
pub(crate) mod stack;

use anyhow::Result;

use crate::count::count_of;
use crate::docker::Engine;
use crate::image;
use crate::place::Place;
use crate::run::Command;

use emulator::Emulator;

/// Deploys the template, and runs the tests on it. Everything has ended when this returns.
pub(crate) fn check(place: &Place, engine: &Engine) -> Result<String> {
    let scratch = place.scratch("cloud")?;
    image::host(place, engine)?;
    let emulator = Emulator::start(place, engine, &scratch)?;
    stack::deploy(place, &emulator, &scratch)?;
    stack::ignore_tags(place, &emulator)?;
    let told = stack::describe(place, &emulator, engine, &scratch)?;
    let file = scratch.join("cloud.json");
    std::fs::write(&file, serde_json::to_string_pretty(&told)?)?;
    let mut passed = 0;
    // As with everything else, all packages are named, so that none is compiled with other features.
    Command::cargo(place)
        .args(["test", "--workspace", "--features", "whole/tools", "--test", "cloud"])
        .linted()
        .env("CUTOVER_TEST_CLOUD", &file)
        .each_line(|line| passed += count_of(line, "passed"))?;
    Ok(format!("{passed} tests on an emulated cloud"))
}
