//! That the commands which documents, help and messages write down are those of this command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{CommandFactory as _, Parser as _};

use crate::args::Cli;

/// What stands for the programs that documents call: it notes that it was called, and with what.
const NOTE: &str =
    "#!/bin/sh\nprintf '%s\\037' \"${0##*/}\" \"$@\" >>\"$CALLED\"; printf '\\n' >>\"$CALLED\"\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below a directory whose names end with `ending`.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<PathBuf> {
    let own = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name));
    let dirs = ["docs", "events", "infra"].map(|name| files(&root().join(name), ".md"));
    own.into_iter().chain(dirs.into_iter().flatten()).collect()
}

/// The lines of a text that a shell would be given: those that are set off by `indent`, joined where they go on.
fn set_off(text: &str, indent: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(indent)).collect();
    let whole = lines.join("\n").replace("\\\n", " ");
    // What may be left out is written in brackets.
    let plain = |line: &str| match line.contains(" [--") {
        true => line.replace(['[', ']'], ""),
        false => line.to_owned(),
    };
    whole.lines().filter(|line| line.contains("cutover ")).map(plain).collect()
}

/// The arguments of each `cutover` that a line calls, as a shell understands the line. Nothing is run.
fn called(line: &str) -> Vec<Vec<String>> {
    let place = tempfile::tempdir().unwrap();
    let bin = place.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["cutover", "cargo", "sam", "aws"] {
        let path = bin.join(name);
        fs::write(&path, NOTE).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let log = place.path().join("called");
    // Those that go to the background are waited for.
    let script = format!("{line}\nwait");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]).current_dir(place.path()).env_clear();
    shell.env("PATH", &bin).env("CALLED", &log).output().unwrap();
    let text = fs::read_to_string(&log).unwrap_or_default();
    let calls = text.lines().map(|call| call.split('\u{1f}').map(str::to_owned));
    let mut calls: Vec<Vec<String>> = calls.map(Iterator::collect).collect();
    calls.iter_mut().for_each(|call| drop(call.pop()));
    calls.retain(|call| call.first().is_some_and(|name| name == "cutover"));
    calls
}

#[track_caller]
fn check(place: &str, line: &str) -> usize {
    let calls = called(line);
    for call in &calls {
        if let Err(error) = Cli::try_parse_from(call) {
            panic!("{place}: `{line}`: {error}");
        }
    }
    calls.len()
}

#[test]
fn the_commands_that_documents_set_off_are_understood() {
    let mut count = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for line in set_off(&text, "    ") {
            // That is a tag, and no command.
            if !line.starts_with("cutover = ") {
                count += check(&path.display().to_string(), &line);
            }
        }
    }
    assert!(count > 20, "{count} commands were found");
}

/// The help of a command and of those below it.
fn helps(command: &clap::Command) -> Vec<String> {
    let own = [command.get_long_about(), command.get_after_help(), command.get_after_long_help()];
    let own = own.into_iter().flatten().map(ToString::to_string);
    own.chain(command.get_subcommands().flat_map(helps)).collect()
}

#[test]
fn the_examples_in_help_are_understood() {
    let count: usize = helps(&Cli::command())
        .iter()
        .flat_map(|help| set_off(help, "  "))
        .map(|line| check("--help", &line))
        .sum();
    assert!(count > 20, "{count} examples were found");
}

/// Why some words are no beginning of a command: a name or an option that there is not.
fn unknown(words: &str) -> Option<String> {
    let mut command = Cli::command();
    command.build();
    let mut words = words.split_whitespace().skip(1).peekable();
    while let Some(word) = words.peek()
        && command.has_subcommands()
    {
        if let Some(below) = command.find_subcommand(word).cloned() {
            command = below;
            words.next();
        } else if word.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Some(format!("`{}` has no `{word}`", command.get_name()));
        } else {
            break;
        }
    }
    let options: Vec<&str> = words.take_while(|word| *word != "--").collect();
    let named = options.iter().filter_map(|word| word.strip_prefix("--"));
    let is_known = |name: &str| {
        let mut longs = command.get_arguments().filter_map(clap::Arg::get_long);
        longs.any(|long| long == name) || name == "help" || name == "version"
    };
    let name = |word: &str| word.split(['=', ',', '.']).next().unwrap_or_default().to_owned();
    let unknown = named.map(name).find(|name| !is_known(name))?;
    Some(format!("`{}` has no `--{unknown}`", command.get_name()))
}

#[test]
fn the_commands_that_sentences_name_exist() {
    let sources = ["cli/src", "shared", "runner/src", "functions/src"];
    let sources = sources.iter().flat_map(|dir| files(&root().join(dir), ".rs"));
    let mut count = 0;
    for path in documents().into_iter().chain(sources) {
        if path.ends_with("written.rs") || path.ends_with("CHANGELOG.md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // A sentence may go on in the next line, and in the next line of a comment.
        let marks = ["\n//! ", "\n/// ", "\n// ", "\n"];
        for paragraph in text.split("\n\n") {
            let paragraph =
                marks.iter().fold(paragraph.to_owned(), |text, mark| text.replace(mark, " "));
            let spans = paragraph.split('`').skip(1).step_by(2);
            for words in spans.filter(|words| words.starts_with("cutover ")) {
                let why = unknown(words);
                assert_eq!(why, None, "{}: `{words}`", path.display());
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count} commands were found");
}
