//! Finding the AppSpec file among the entries, and checking that what it names is in the bundle
//! (`docs/semantics.md#revisions`).

use engine::appspec::{AppSpec, Os};

use crate::error::BundleError;
use crate::inspection::Fault;
use crate::tree::{Node, Tree, components, shown};

/// CodeDeploy's name and the other common ending.
const NAMES: [&str; 2] = ["appspec.yml", "appspec.yaml"];
/// The folder in which macOS keeps what a zip archive has no place for.
const MACOS: &str = "__MACOSX";

/// Whether the file at `path` may turn out to be the AppSpec file, while `folder` is all that the root has so far.
pub(crate) fn may_be(path: &str, folder: Option<&str>) -> bool {
    match path.split_once('/') {
        None => NAMES.contains(&path),
        Some((top, name)) => folder == Some(top) && NAMES.contains(&name),
    }
}

/// The folder to strip, the AppSpec file's path in the archive, and its text.
pub(crate) fn find<'c>(
    tree: &Tree,
    candidates: &'c [(String, Vec<u8>)],
) -> Result<(Option<String>, String, &'c [u8]), BundleError> {
    for folder in [None, tree.single_folder()] {
        let path = |name: &str| {
            folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}"))
        };
        let present: Vec<String> =
            NAMES.into_iter().map(path).filter(|path| tree.get(path).is_some()).collect();
        match present.as_slice() {
            [] => {}
            [file] => {
                let text = candidates.iter().find(|(path, _)| path == file);
                let (_, text) = text.ok_or_else(|| BundleError::AppSpec {
                    file: file.clone(),
                    position: None,
                    message: "the AppSpec must be a regular file, not a directory or a link"
                        .to_owned(),
                })?;
                return Ok((folder.map(str::to_owned), file.clone(), text));
            }
            [first, second, ..] => {
                return Err(BundleError::TwoAppSpecs {
                    first: first.clone(),
                    second: second.clone(),
                });
            }
        }
    }
    Err(BundleError::NoAppSpec { there: instead(tree) })
}

/// What lies in a bundle without an AppSpec file where that has to be, and what to do about it.
fn instead(tree: &Tree) -> String {
    let folder = tree.tops().find(|top| *top != MACOS);
    let is_right = |path: &str| NAMES.iter().any(|name| path.rsplit('/').next() == Some(*name));
    if tree.tops().any(|top| top == MACOS)
        && let Some(folder) = folder
        && tree.tops().count() == 2
        && NAMES.iter().any(|name| tree.get(&format!("{folder}/{name}")).is_some())
    {
        let folder = shown(folder);
        return format!(
            "`{MACOS}`, which macOS adds, lies beside the folder `{folder}`; pack the folder with `zip -r {folder}.zip {folder}`, which leaves it out"
        );
    }
    let depth = |path: &&str| (path.matches('/').count(), path.len());
    if let Some(path) = tree.paths().filter(|path| is_right(path)).min_by_key(depth)
        && let Some((dir, _)) = path.rsplit_once('/')
    {
        let (path, dir) = (shown(path), shown(dir));
        return format!("`{path}` lies too deep; pack what is in `{dir}`");
    }
    let nearly = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
        let name = name.strip_suffix(".txt").unwrap_or(&name);
        ["appspec.yml", "appspec.yaml", "app-spec.yml", "appspec"].contains(&name)
    };
    if let Some(path) = tree.paths().filter(nearly).min_by_key(depth) {
        return format!(
            "`{}` is there, but it has to be called `appspec.yml`; rename it",
            shown(path)
        );
    }
    let tops: Vec<String> = tree.tops().take(5).map(|top| format!("`{}`", shown(top))).collect();
    let rest = tree.tops().count().saturating_sub(tops.len());
    match (tops.as_slice(), rest) {
        ([], _) => "it is empty; pack the directory with the AppSpec file".to_owned(),
        (_, 0) => format!("there is {}; put one beside it", tops.join(", ")),
        (_, rest) => format!("there is {} and {rest} more; put one beside them", tops.join(", ")),
    }
}

/// Parses the AppSpec file.
pub(crate) fn read(file: &str, text: &[u8]) -> Result<AppSpec, BundleError> {
    engine::appspec::parse(text).map_err(|error| BundleError::AppSpec {
        file: file.to_owned(),
        position: error.position,
        message: error.message,
    })
}

/// What `appspec` names and is not in the tree below `root`: sources first, then scripts by their events.
pub(crate) fn faults(tree: &Tree, root: &str, appspec: &AppSpec) -> Vec<Fault> {
    let places = &appspec.places;
    let sources = appspec.files.iter().enumerate().filter_map(|(number, mapping)| {
        let message = source_fault(tree, root, &mapping.source, appspec.os)?;
        Some(Fault { position: places.sources.get(number).copied(), message })
    });
    let scripts = appspec.hooks.iter().flat_map(|(event, scripts)| {
        let places = places.scripts.get(event);
        scripts.iter().enumerate().filter_map(move |(number, script)| {
            let message = script_fault(tree, root, &script.location, appspec.os)?;
            Some(Fault { position: places.and_then(|all| all.get(number)).copied(), message })
        })
    });
    sources.chain(scripts).collect()
}

fn source_fault(tree: &Tree, root: &str, source: &str, os: Os) -> Option<String> {
    let path = slashed(source, os);
    if climbs(&path) {
        return Some(format!(
            "the source `{source}` leads upwards with `..`; name a path inside the bundle"
        ));
    }
    tree.find(root, &path).is_none().then(|| {
        format!("the source `{source}` is not in the bundle; pack it, or take the entry out")
    })
}

fn script_fault(tree: &Tree, root: &str, location: &str, os: Os) -> Option<String> {
    let path = slashed(location, os);
    if climbs(&path) {
        return Some(format!(
            "the script `{location}` leads upwards with `..`; name a file inside the bundle"
        ));
    }
    (tree.resolve(root, &path) != Some(&Node::File)).then(|| {
        format!("the script `{location}` is no file of the bundle; pack it, or take the hook out")
    })
}

fn climbs(path: &str) -> bool {
    components(path).any(|name| name == "..")
}

/// Windows' AppSpec files may separate with backslashes.
fn slashed(path: &str, os: Os) -> String {
    match os {
        Os::Linux => path.to_owned(),
        Os::Windows => path.replace('\\', "/"),
    }
}

/// The names under `hooks` that are nearly those of events, which are refused in whatever is new.
pub fn misspelt(appspec: &AppSpec) -> impl Iterator<Item = Fault> {
    let errors = appspec.misspelt_events().into_iter();
    errors.map(|error| Fault { position: error.position, message: error.message })
}
