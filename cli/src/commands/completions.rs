//! `cutover completions`: what a shell needs to complete commands.

use clap::Command;
use clap_complete::Shell;

use crate::failure::Exit;
use crate::output;

/// Prints the completions for a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cutover completions bash > ~/.local/share/bash-completion/completions/cutover"
)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints them for the whole command line.
pub(crate) fn run(args: &Args, whole: &mut Command) -> Exit {
    // Written at once, because the generator panics when its reader goes away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, whole, "cutover", &mut script);
    output::raw(&String::from_utf8_lossy(&script));
    Exit::Done
}
