//! The entries of `permissions`: modes, access control entries and SELinux contexts
//! (`docs/semantics.md#appspec`).

use super::error::{Problem, Report};
use super::scalar::Kind;
use super::shape::{given, list, mapping, stripped, text, truthy};
use super::yaml::{Map, Node, excerpt};
use super::{Context, Os, Permission};

/// The highest category of an SELinux range.
const CATEGORY_MAX: u32 = 1023;

/// Reads one entry.
pub(super) fn read(node: &Node, os: Os, report: &mut Report) -> Option<Permission> {
    let map = mapping(node, "an entry of `permissions`", report)?;
    if os == Os::Windows {
        report.add(&Problem::PermissionsOnWindows, node.position);
        return None;
    }
    let errors_before = report.errors.len();
    let object = match given(map, "object") {
        Some(entry) => stripped(&entry.value, "`object`", report).unwrap_or_default(),
        None => String::new(),
    };
    if object.is_empty() && report.errors.len() == errors_before {
        let position = given(map, "object").map_or(node.position, |entry| entry.value.position);
        report.add(&Problem::NoObject, position);
    }
    let pattern = truthy(map, "pattern").and_then(|entry| text(&entry.value, "`pattern`", report));
    let except = texts(map, "except", "`except`", "an entry of `except`", report);
    let (files, directories) = read_types(map, report);
    let owner = given(map, "owner").and_then(|entry| text(&entry.value, "`owner`", report));
    let group = given(map, "group").and_then(|entry| text(&entry.value, "`group`", report));
    let mode = given(map, "mode").and_then(|entry| read_mode(&entry.value, report));
    let acls = read_acls(map, report);
    let context = given(map, "context").and_then(|entry| read_context(&entry.value, report));
    let pattern = pattern.unwrap_or_else(|| "**".to_owned());
    let permission = Permission {
        object,
        pattern,
        except,
        files,
        directories,
        owner,
        group,
        mode,
        acls,
        context,
    };
    (report.errors.len() == errors_before).then_some(permission)
}

fn texts(
    map: &Map,
    key: &str,
    what: &'static str,
    entry: &'static str,
    report: &mut Report,
) -> Vec<String> {
    let nodes = list(truthy(map, key), what, report);
    nodes.iter().filter_map(|node| text(node, entry, report)).collect()
}

/// Whether the entry is for files and whether it is for directories.
fn read_types(map: &Map, report: &mut Report) -> (bool, bool) {
    let Some(entry) = truthy(map, "type") else { return (true, true) };
    let (mut files, mut directories) = (false, false);
    for node in list(Some(entry), "`type`", report) {
        match node.as_text() {
            Some("file") => files = true,
            Some("directory") => directories = true,
            _ => report.add(&Problem::ObjectType { found: node.describe() }, node.position),
        }
    }
    (files, directories)
}

/// A mode is the digits as text, so that `mode: 644` means what it looks like. An unquoted leading zero makes YAML read an
/// octal number, whose decimal digits are then taken as the mode: wrong or refused, as with the official agent.
fn read_mode(node: &Node, report: &mut Report) -> Option<u32> {
    let digits = node.as_scalar().and_then(|scalar| match scalar.kind {
        Kind::Text => Some(scalar.text.clone()),
        Kind::Int(value) => Some(value.to_string()),
        Kind::Null => Some(String::new()),
        Kind::Bool(_) | Kind::Float(_) | Kind::Symbol | Kind::Timestamp => None,
    });
    let mode = digits.as_deref().and_then(mode_of);
    if mode.is_none() {
        let problem = match node.as_scalar() {
            Some(scalar)
                if let Kind::Int(value) = scalar.kind
                    && mode_of(&scalar.text).is_some() =>
            {
                Problem::OctalMode { written: scalar.text.clone(), value }
            }
            _ => Problem::Mode { found: node.describe() },
        };
        report.add(&problem, node.position);
    }
    mode
}

/// The bits of up to four octal digits; none is 0.
pub(super) fn mode_of(digits: &str) -> Option<u32> {
    let is_octal = digits.len() <= 4 && digits.chars().all(|digit| digit.is_digit(8));
    is_octal.then(|| u32::from_str_radix(digits, 8).unwrap_or(0))
}

fn read_acls(map: &Map, report: &mut Report) -> Vec<String> {
    let Some(entry) = given(map, "acls") else { return Vec::new() };
    let mut acls = Vec::new();
    for node in list(Some(entry), "`acls`", report) {
        let Some(acl) = text(node, "an entry of `acls`", report) else { continue };
        match check_acl(&acl) {
            Ok(()) => acls.push(acl),
            Err(why) => report.add(&Problem::Acl { entry: excerpt(&acl), why }, node.position),
        }
    }
    acls
}

/// Checks `[d|default:][type:]name:permissions`; the base entries are those of the mode.
fn check_acl(acl: &str) -> Result<(), &'static str> {
    let mut parts: Vec<&str> = acl.split(':').collect();
    let permissions = parts.pop().unwrap_or_default();
    let name = parts.pop().ok_or("it has no `:`")?;
    let (default, kind) = match parts.as_slice() {
        [] => (false, None),
        ["d" | "default"] => (true, None),
        [kind] => (false, Some(*kind)),
        ["d" | "default", kind] => (true, Some(*kind)),
        [_, _] => return Err("its first part must be `default`"),
        _ => return Err("it has too many parts"),
    };
    let named = !name.is_empty();
    let is_base_kind = |word: &str| matches!(word, "m" | "mask" | "o" | "other");
    let is_mask = match kind {
        None if is_base_kind(name) => matches!(name, "m" | "mask"),
        None | Some("u" | "user" | "g" | "group") => false,
        Some(kind) if is_base_kind(kind) => {
            if named {
                return Err("a mask and other have no name");
            }
            matches!(kind, "m" | "mask")
        }
        Some("d" | "default") => return Err("it has `default` twice"),
        Some(_) => return Err("its type is not known"),
    };
    let is_base = !named || (kind.is_none() && is_base_kind(name));
    if !default && !is_mask && is_base {
        return Err("the owner, the owning group and others get theirs from `mode`");
    }
    let octal = permissions.len() == 1 && permissions.chars().all(|c| c.is_digit(8));
    if !octal && !permissions.chars().all(|c| matches!(c, 'r' | 'w' | 'x' | '-')) {
        return Err("its permissions must be of `rwx-` or one octal digit");
    }
    Ok(())
}

fn read_context(node: &Node, report: &mut Report) -> Option<Context> {
    let map = mapping(node, "`context`", report)?;
    let kind = match given(map, "type") {
        Some(entry) => text(&entry.value, "`type` of a context", report),
        None => {
            report.add(&Problem::NoContextType, node.position);
            None
        }
    };
    let user =
        given(map, "name").and_then(|entry| text(&entry.value, "`name` of a context", report));
    let range = given(map, "range").and_then(|entry| {
        let range = text(&entry.value, "`range` of a context", report)?;
        if let Err(why) = check_range(&range) {
            report.add(&Problem::Range { range: excerpt(&range), why }, entry.value.position);
        }
        Some(range)
    });
    Some(Context { user, kind: kind?, range })
}

/// Checks `s0[-s3][:c0[.c5][,c7]…]`.
fn check_range(range: &str) -> Result<(), &'static str> {
    let (levels, categories) = match range.split_once(':') {
        Some((levels, categories)) => (levels, Some(categories)),
        None => (range, None),
    };
    let (low, high) = levels.split_once('-').unwrap_or((levels, levels));
    let (low, high) = (numbered(low, 's'), numbered(high, 's'));
    let (Some(low), Some(high)) = (low, high) else {
        return Err("a sensitivity is `s` and a number");
    };
    if high < low {
        return Err("its second sensitivity is below the first");
    }
    let mut seen = [false; CATEGORY_MAX as usize + 1];
    for part in categories.into_iter().flat_map(|categories| categories.split(',')) {
        let (first, last) = part.split_once('.').unwrap_or((part, part));
        let (first, last) = (numbered(first, 'c'), numbered(last, 'c'));
        let (Some(first), Some(last)) = (first, last) else {
            return Err("a category is `c` and a number");
        };
        if last > u64::from(CATEGORY_MAX) {
            return Err("a category is 1023 at most");
        }
        if last < first {
            return Err("the end of a range of categories is below its start");
        }
        for category in first..=last {
            let Some(slot) =
                usize::try_from(category).ok().and_then(|category| seen.get_mut(category))
            else {
                continue;
            };
            if std::mem::replace(slot, true) {
                return Err("a category stands in it twice");
            }
        }
    }
    Ok(())
}

fn numbered(text: &str, letter: char) -> Option<u64> {
    let digits = text.strip_prefix(letter)?;
    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}
