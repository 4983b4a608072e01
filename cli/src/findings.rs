//! What is wrong or doubtful about a bundle: an AppSpec file, a directory, or an archive.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use bundle::{BundleError, EntryKind, Fault, HEAD_BYTES, Inspection, Limits, names};
use engine::appspec::{Position, Severity, lint};
use serde::Serialize;

use crate::output::{one_line, printable};
use crate::{pack, scripts};

/// The names that an AppSpec file may have.
const APPSPEC_NAMES: [&str; 2] = ["appspec.yml", "appspec.yaml"];

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The file, as the user can open it, or as it is called in the archive.
    pub(crate) file: String,
    /// The line, from 1, if it has a place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
    /// The column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u32>,
    /// `error` or `warning`.
    pub(crate) severity: &'static str,
    /// What it is and what to do about it.
    pub(crate) message: String,
}

impl Finding {
    fn new(
        file: impl Into<String>,
        position: Option<Position>,
        severity: Severity,
        message: impl Into<String>,
    ) -> Self {
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let (line, column) = position.map(|position| (position.line, position.column)).unzip();
        Self { file: file.into(), line, column, severity, message: message.into() }
    }

    /// Whether it makes hosts refuse the bundle.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == "error"
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&one_line(&self.file))?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}: {}", self.severity, printable(&self.message))
    }
}

/// Why nothing can be said about a path.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be read: {source}", path.display())]
pub(crate) struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

/// All that is found about the file, directory or archive at `path`.
pub(crate) fn of_path(path: &Path) -> Result<Vec<Finding>, Unreadable> {
    let failed = |source| Unreadable { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.is_dir() {
        let mut findings = of_dir(path)?;
        // What the AppSpec file names is looked for although there is something wrong with it already; if that is about the
        // directory, it is not known which file is meant.
        let name = path.display().to_string();
        if !findings.iter().any(|finding| finding.file == name) {
            let more = match pack::pack(path, None) {
                Ok(packed) => of_packed(&packed.file, path),
                Err(error) => vec![about(path, error.to_string())],
            };
            add(&mut findings, more);
        }
        return Ok(findings);
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut head = Vec::new();
    (&mut file).take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
    if bundle::sniff(&head).is_some() || bundle::foreign(&file).map_err(failed)?.is_some() {
        return Ok(of_archive(&file, &path.display().to_string()));
    }
    file.rewind().map_err(failed)?;
    Ok(of_text(&limited(file).map_err(failed)?, &path.display().to_string()))
}

/// What is found about the AppSpec file of a directory.
pub(crate) fn of_dir(dir: &Path) -> Result<Vec<Finding>, Unreadable> {
    let present: Vec<PathBuf> = APPSPEC_NAMES
        .iter()
        .map(|name| dir.join(name))
        .filter(|path| path.symlink_metadata().is_ok())
        .collect();
    match present.as_slice() {
        [path] => {
            let text = File::open(path).and_then(limited);
            let text = text.map_err(|source| Unreadable { path: path.clone(), source })?;
            Ok(of_text(&text, &path.display().to_string()))
        }
        // What is in a single folder at the top is a bundle as well; that only the packed directory shows.
        [] => Ok(Vec::new()),
        _ => Ok(vec![about(
            dir,
            "the directory has both appspec.yml and appspec.yaml; keep one of them",
        )]),
    }
}

/// What is found about a directory that was packed, besides its AppSpec file's own findings.
pub(crate) fn of_packed(mut file: &File, dir: &Path) -> Vec<Finding> {
    match bundle::survey(&mut file, &Limits::default(), &mut |_| Ok(())) {
        Ok((inspection, faults)) => {
            let called = |path: &str| dir.join(names::to_os(path)).display().to_string();
            let mut findings = of_faults(faults, &inspection, called);
            findings.extend(of_inspection(file, &inspection, dir, called));
            findings
        }
        Err(BundleError::AppSpec { file, position, message }) => {
            let path = dir.join(file);
            vec![Finding::new(path.display().to_string(), position, Severity::Error, message)]
        }
        Err(error) => vec![about(dir, error.to_string())],
    }
}

/// What makes a bundle refused whose AppSpec file can be read.
fn of_faults(
    faults: Vec<Fault>,
    inspection: &Inspection,
    called: impl Fn(&str) -> String,
) -> Vec<Finding> {
    let file = called(&inspection.appspec_file);
    let misspelt = bundle::misspelt(&inspection.appspec);
    let mut faults: Vec<Fault> = faults.into_iter().chain(misspelt).collect();
    faults.sort_by_key(|fault| fault.position);
    let error = |Fault { position, message }| {
        Finding::new(file.clone(), position, Severity::Error, message)
    };
    faults.into_iter().map(error).collect()
}

/// Adds what was not found yet: of an AppSpec file that is wrong by itself the lint says the same.
fn add(findings: &mut Vec<Finding>, more: Vec<Finding>) {
    for finding in more {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
}

/// What is doubtful about a whole bundle: its entries, and the scripts that its AppSpec file names.
fn of_inspection(
    mut file: &File,
    inspection: &Inspection,
    name: &Path,
    called: impl Fn(&str) -> String,
) -> Vec<Finding> {
    let warn = |message: &String| {
        Finding::new(name.display().to_string(), None, Severity::Warning, message)
    };
    let mut findings: Vec<Finding> = inspection.warnings.iter().map(warn).collect();
    let prefix = inspection.strip_prefix.as_ref().map(|prefix| format!("{prefix}/"));
    let prefix = prefix.unwrap_or_default();
    let plain = |location: &str| {
        let names = location.split('/').filter(|name| !name.is_empty() && *name != ".");
        names.collect::<Vec<_>>().join("/")
    };
    let hooks = inspection.appspec.hooks.values().flatten();
    let scripts: BTreeSet<String> =
        hooks.map(|script| format!("{prefix}{}", plain(&script.location))).collect();
    let repository = format!("{prefix}.git/HEAD");
    let looked = bundle::survey(&mut file, &Limits::default(), &mut |entry| {
        if entry.path == repository {
            let message = "the repository of git is packed, too, and goes to all hosts with its whole history; pack without `.git`, or push with `--mtime commit`, which leaves it out";
            findings.push(Finding::new(called(entry.path), None, Severity::Warning, message));
        }
        if let EntryKind::File { reader, .. } = entry.kind
            && scripts.contains(entry.path)
        {
            let mut text = Vec::new();
            reader.take(scripts::LOOK_BYTES).read_to_end(&mut text)?;
            let doubts = scripts::doubts(&text).into_iter();
            findings.extend(doubts.map(|(position, message)| {
                Finding::new(called(entry.path), Some(position), Severity::Warning, message)
            }));
        }
        Ok(())
    });
    // It was read as a whole just before.
    findings.extend(looked.err().map(|error| about(name, error.to_string())));
    findings
}

fn about(path: &Path, message: impl Into<String>) -> Finding {
    Finding::new(path.display().to_string(), None, Severity::Error, message)
}

/// What is found about an archive: what makes it refused, and what its AppSpec file's lint says.
fn of_archive(mut file: &File, name: &str) -> Vec<Finding> {
    let mut texts: Vec<(String, Vec<u8>)> = Vec::new();
    let visited = bundle::survey(&mut file, &Limits::default(), &mut |entry| {
        let base = entry.path.rsplit('/').next().unwrap_or_default();
        if let EntryKind::File { reader, .. } = entry.kind
            && APPSPEC_NAMES.contains(&base)
            && entry.path.matches('/').count() <= 1
        {
            texts.push((entry.path.to_owned(), limited(reader)?));
        }
        Ok(())
    });
    let mut more = Vec::new();
    let (spec, refused) = match visited {
        Ok((inspection, faults)) => {
            more = of_inspection(file, &inspection, Path::new(name), str::to_owned);
            let refused = of_faults(faults, &inspection, str::to_owned);
            (Some(inspection.appspec_file), refused)
        }
        Err(BundleError::AppSpec { file, position, message }) => {
            let refused = Finding::new(file.clone(), position, Severity::Error, message);
            (Some(file), vec![refused])
        }
        Err(error) => (None, vec![Finding::new(name, None, Severity::Error, error.to_string())]),
    };
    let text = texts.iter().find(|(path, _)| Some(path) == spec.as_ref());
    let mut findings = text.map(|(path, text)| of_text(text, path)).unwrap_or_default();
    add(&mut findings, refused);
    findings.extend(more);
    findings
}

fn of_text(text: &[u8], file: &str) -> Vec<Finding> {
    let found = lint(text).into_iter();
    found
        .map(|finding| Finding::new(file, finding.position, finding.severity, finding.message))
        .collect()
}

/// Reads no more than the lint needs to see that a file is too large.
fn limited(reader: impl io::Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    reader.take(Limits::default().appspec_bytes.saturating_add(1)).read_to_end(&mut text)?;
    Ok(text)
}
