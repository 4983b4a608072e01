//! `cargo xtask lint`: formatting and clippy.

use anyhow::Result;

use crate::place::Place;
use crate::run::Command;

/// All targets, also those that are tested only when they are named.
pub(crate) const EVERYTHING: [&str; 5] = ["--all-targets", "--test", "cloud", "--test", "links"];

pub(crate) fn run() -> Result<()> {
    let place = Place::find()?;
    formatting(&place)?;
    clippy(&place)
}

pub(crate) fn formatting(place: &Place) -> Result<()> {
    Command::cargo(place).args(["fmt", "--all", "--check"]).run()
}

fn clippy(place: &Place) -> Result<()> {
    let targets = ["--workspace", "--features", "whole/tools"];
    let command = Command::cargo(place).args(["clippy"]).args(targets).args(EVERYTHING);
    command.args(["--", "--deny", "warnings"]).run()
}
