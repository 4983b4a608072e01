//! The shapes that values in an AppSpec file must have, as the official agent takes them.

use super::error::{Problem, Report};
use super::scalar::Kind;
use super::yaml::{Entry, Map, Node, Value};

/// An entry that has a value.
pub(super) fn given<'a>(map: &'a Map, key: &str) -> Option<&'a Entry> {
    map.get(key).filter(|entry| !entry.value.is_null())
}

/// An entry with a value that is not `false`, where the official agent takes that for none.
pub(super) fn truthy<'a>(map: &'a Map, key: &str) -> Option<&'a Entry> {
    map.get(key).filter(|entry| !entry.value.is_falsy())
}

/// The items of an entry that must be a list.
pub(super) fn list<'a>(
    entry: Option<&'a Entry>,
    what: &'static str,
    report: &mut Report,
) -> &'a [Node] {
    entry.map_or(&[], |entry| items(&entry.value, what, report))
}

/// The items of a list; an empty mapping counts as an empty list.
pub(super) fn items<'a>(node: &'a Node, what: &'static str, report: &mut Report) -> &'a [Node] {
    match &node.value {
        Value::List(nodes) => return nodes,
        Value::Map(map) if map.entries.is_empty() => {}
        Value::Map(_) | Value::Scalar(_) => {
            report.add(&Problem::ExpectedList { what, found: node.describe() }, node.position);
        }
    }
    &[]
}

/// A node that must be a mapping.
pub(super) fn mapping<'a>(
    node: &'a Node,
    what: &'static str,
    report: &mut Report,
) -> Option<&'a Map> {
    let map = node.as_map();
    if map.is_none() {
        report.add(&Problem::ExpectedMapping { what, found: node.describe() }, node.position);
    }
    map
}

/// Text, and nothing that only looks like it.
pub(super) fn text(node: &Node, what: &'static str, report: &mut Report) -> Option<String> {
    let text = node.as_text().map(str::to_owned);
    if text.is_none() {
        report.add(&Problem::ExpectedText { what, found: node.describe() }, node.position);
    }
    text
}

/// A scalar as Ruby writes it, without white space around it.
pub(super) fn stripped(node: &Node, what: &'static str, report: &mut Report) -> Option<String> {
    let written = node.as_scalar().and_then(|scalar| match scalar.kind {
        Kind::Text => Some(
            scalar.text.trim_matches([' ', '\t', '\n', '\u{B}', '\u{C}', '\r', '\0']).to_owned(),
        ),
        Kind::Int(value) => Some(value.to_string()),
        Kind::Float(value) => Some(format!("{value:?}")),
        Kind::Bool(value) => Some(value.to_string()),
        Kind::Null | Kind::Symbol | Kind::Timestamp => None,
    });
    if written.is_none() {
        report.add(&Problem::ExpectedText { what, found: node.describe() }, node.position);
    }
    written
}
