//! Which file of a crate uses which, read from its source as text: `use` declarations and paths in the code, resolved to
//! the files in which the items are defined.
//!
//! A re-export is followed to the item's own file, so a module that only declares and re-exports its children uses none of
//! them. Tests are left out: they may use whatever they test. Methods are not seen, since a call does not name its type.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::tokens::{bare, end_of_group, end_of_item, tokens, without_tests};

/// The path of a module from the crate's root.
type Name = Vec<String>;

/// The modules of a crate.
#[derive(Default)]
pub(crate) struct Modules(BTreeMap<Name, Module>);

#[derive(Default)]
struct Module {
    file: PathBuf,
    /// What it defines; of functions and constants, which nothing is in, it is noted that they are such.
    items: BTreeMap<String, IsValue>,
    /// What each imported name means.
    imports: BTreeMap<String, Import>,
    globs: Vec<Vec<String>>,
    /// The paths in its code, single words too.
    paths: BTreeSet<Vec<String>>,
}

type IsValue = bool;

#[derive(Clone)]
struct Import {
    path: Vec<String>,
    is_public: bool,
}

/// What a path leads to.
enum Found {
    Module(Name),
    ItemIn(PathBuf),
}

impl Modules {
    /// Reads the modules of a crate from its root file on.
    pub(crate) fn of(root: &Path) -> Self {
        let mut modules = Self::default();
        modules.read(Vec::new(), root, root.parent().unwrap());
        modules
    }

    /// For each file the others that it uses, each with a path that does so.
    pub(crate) fn uses(&self) -> BTreeMap<PathBuf, BTreeMap<PathBuf, String>> {
        let mut uses: BTreeMap<PathBuf, BTreeMap<PathBuf, String>> = BTreeMap::new();
        for (name, module) in &self.0 {
            let used = uses.entry(module.file.clone()).or_default();
            for path in self.paths_of(name, module) {
                if let Some(Found::ItemIn(file)) = self.resolve(name, path, false, 0)
                    && file != module.file
                {
                    used.entry(file).or_insert_with(|| path.join("::"));
                }
            }
        }
        uses
    }

    /// The paths by which a module uses others. What it only hands on of its own children is none of them.
    fn paths_of<'m>(
        &'m self,
        name: &'m [String],
        module: &'m Module,
    ) -> impl Iterator<Item = &'m [String]> {
        let is_handed_on = move |import: &Import| {
            import.is_public
                && matches!(self.first(name, &import.path[0], true, 0), Some(Found::Module(it)) if it.starts_with(name))
        };
        let imports = module.imports.values().filter(move |import| !is_handed_on(import));
        let imports = imports.map(|import| import.path.as_slice());
        imports.chain(module.paths.iter().map(Vec::as_slice))
    }

    fn read(&mut self, name: Name, file: &Path, children: &Path) {
        let text = fs::read_to_string(file).unwrap();
        let tokens = without_tests(&tokens(&text));
        self.read_items(name, file, children, &tokens);
    }

    fn read_items(&mut self, name: Name, file: &Path, children: &Path, tokens: &[&str]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        let mut rest = tokens;
        while !rest.is_empty() {
            let (item, after) = rest.split_at(end_of_item(rest));
            rest = after;
            match declared_module(item) {
                Some((child, inner)) => {
                    let mut path = name.clone();
                    path.push(child.to_owned());
                    let dir = children.join(child);
                    match inner {
                        Some(inner) => self.read_items(path, file, &dir, inner),
                        None => self.read(path, &file_of(children, child), &dir),
                    }
                }
                None => module.take(item),
            }
        }
        self.0.insert(name, module);
    }

    /// Where a path of a module leads, which may go on after it; none, if out of the crate, or to no item at all.
    fn resolve(
        &self,
        module: &[String],
        path: &[String],
        goes_on: bool,
        depth: usize,
    ) -> Option<Found> {
        let is_on_the_way = |at: usize| goes_on || at + 1 < path.len();
        let mut found = self.first(module, path.first()?, is_on_the_way(0), depth)?;
        for (at, part) in path.iter().enumerate().skip(1) {
            let Found::Module(module) = found else { return Some(found) };
            found = match part.as_str() {
                "super" => Found::Module(module[..module.len() - 1].to_vec()),
                part => self
                    .lookup(&module, part, is_on_the_way(at), depth)
                    .or_else(|| self.made_by_a_macro(&module, part))?,
            };
        }
        Some(found)
    }

    /// What a macro defines is not seen; it is in the file of the module that a path names.
    fn made_by_a_macro(&self, module: &[String], word: &str) -> Option<Found> {
        let module = self.0.get(module).filter(|it| !it.items.contains_key(word))?;
        Some(Found::ItemIn(module.file.clone()))
    }

    fn first(&self, module: &[String], word: &str, goes_on: bool, depth: usize) -> Option<Found> {
        match word {
            "crate" => Some(Found::Module(Vec::new())),
            "self" => Some(Found::Module(module.to_vec())),
            "super" => Some(Found::Module(module.split_last()?.1.to_vec())),
            word => self.lookup(module, word, goes_on, depth),
        }
    }

    fn lookup(&self, name: &[String], word: &str, goes_on: bool, depth: usize) -> Option<Found> {
        let child: Name = name.iter().cloned().chain([word.to_owned()]).collect();
        if self.0.contains_key(&child) {
            return Some(Found::Module(child));
        }
        let module = self.0.get(name).filter(|_| depth < 8)?;
        if module.items.get(word).is_some_and(|is_value| !(goes_on && *is_value)) {
            return Some(Found::ItemIn(module.file.clone()));
        }
        match module.imports.get(word) {
            // `use tokio::sync` is no path of the module itself.
            Some(import) if import.path[0] != word => {
                self.resolve(name, &import.path, goes_on, depth + 1)
            }
            Some(_) => None,
            None => module.globs.iter().find_map(|glob| {
                match self.resolve(name, glob, true, depth + 1)? {
                    Found::Module(of) if of != name => self.lookup(&of, word, goes_on, depth + 1),
                    Found::Module(_) | Found::ItemIn(_) => None,
                }
            }),
        }
    }
}

/// Where the file of a child module is.
fn file_of(children: &Path, child: &str) -> PathBuf {
    let beside = children.join(format!("{child}.rs"));
    if beside.is_file() { beside } else { children.join(child).join("mod.rs") }
}

/// The module that an item declares, and what is in its braces if it has them.
fn declared_module<'t, 's>(item: &'t [&'s str]) -> Option<(&'s str, Option<&'t [&'s str]>)> {
    match bare(item) {
        ["mod", name, ";"] => Some((name, None)),
        ["mod", name, "{", inner @ .., "}"] => Some((name, Some(inner))),
        _ => None,
    }
}

impl Module {
    /// Takes in one item that is no module.
    fn take(&mut self, item: &[&str]) {
        self.items.extend(defined(bare(item)));
        let is_public = item.len() > bare(item).len() && item.contains(&"pub");
        let mut at = 0;
        while at < item.len() {
            if item[at] == "use" && item.get(at + 1) != Some(&"<") {
                let tree: Vec<_> =
                    item[at + 1..].iter().take_while(|it| **it != ";").copied().collect();
                self.import(&mut Vec::new(), &tree, is_public);
                at += tree.len() + 1;
                continue;
            }
            let begins = is_word(item[at]) && (at == 0 || !["::", "."].contains(&item[at - 1]));
            let length = if begins { path_at(&item[at..]) } else { 0 };
            if length > 0 {
                let words = item[at..at + length].iter().filter(|word| **word != "::");
                self.paths.insert(words.map(|word| (*word).to_owned()).collect());
            }
            at += length.max(1);
        }
    }

    /// Takes in the tree of a `use` declaration.
    fn import(&mut self, before: &mut Vec<String>, tree: &[&str], is_public: bool) {
        let length = before.len();
        let is_path = |word: &&&str| **word == "::" || is_word(word) && **word != "as";
        let words = tree.iter().take_while(is_path).count();
        before.extend(
            tree[..words].iter().filter(|word| **word != "::").map(|word| (*word).to_owned()),
        );
        match &tree[words..] {
            ["*", ..] => self.globs.push(before.clone()),
            ["{", inner @ .., "}"] => {
                for part in parts(inner) {
                    self.import(before, part, is_public);
                }
            }
            rest => {
                if before.last().is_some_and(|last| last == "self") && before.len() > 1 {
                    before.pop();
                }
                let name = match rest {
                    ["as", name] => Some((*name).to_owned()),
                    _ => before.last().cloned(),
                };
                if let Some(name) = name {
                    self.imports.insert(name, Import { path: before.clone(), is_public });
                }
            }
        }
        before.truncate(length);
    }
}

/// What an item defines, by name.
fn defined(item: &[&str]) -> Option<(String, IsValue)> {
    const VALUES: [&str; 4] = ["fn", "const", "static", "macro_rules"];
    const TYPES: [&str; 5] = ["struct", "enum", "trait", "type", "union"];
    let is_of_head = |word: &&str| !["{", "(", "=", "<", "impl", "use"].contains(word);
    let head: Vec<&str> = item.iter().copied().take_while(is_of_head).collect();
    let at = head.iter().rposition(|word| VALUES.contains(word) || TYPES.contains(word))?;
    let name = head[at + 1..].iter().find(|word| !["!", "mut"].contains(word))?;
    Some(((*name).to_owned(), VALUES.contains(&head[at])))
}

/// How many tokens of a path stand at the beginning.
fn path_at(tokens: &[&str]) -> usize {
    let mut length = 1;
    while tokens.get(length) == Some(&"::") && tokens.get(length + 1).is_some_and(|it| is_word(it))
    {
        length += 2;
    }
    length
}

/// The parts of a list in braces.
fn parts<'t>(tokens: &'t [&'t str]) -> Vec<&'t [&'t str]> {
    let mut parts = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < tokens.len() {
        match tokens[at] {
            "{" => at = end_of_group(tokens, at),
            "," => {
                parts.push(&tokens[begin..at]);
                at += 1;
                begin = at;
            }
            _ => at += 1,
        }
    }
    parts.push(&tokens[begin..]);
    parts.retain(|part| !part.is_empty());
    parts
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c == '_' || c.is_alphabetic())
}
