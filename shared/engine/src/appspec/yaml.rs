//! The nodes of a YAML file, which know where they stand (`docs/semantics.md#appspec`).

use std::collections::BTreeMap;

use super::Position;
use super::scalar::Kind;

/// A value and where it starts.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Map),
}

/// A scalar as written, without quotes, and what it was read as.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// The entries of a mapping. Where a key is given twice, only the last counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<Entry>,
    /// Entries that a later one with the same key replaces, each with the place of the key that replaced it.
    pub(super) replaced: Vec<(Entry, Position)>,
    index: BTreeMap<String, usize>,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Node,
    pub(super) value: Node,
}

impl Map {
    /// The entry with this text as its key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.index.get(key).and_then(|index| self.entries.get(*index))
    }

    pub(super) fn insert(&mut self, key: Node, value: Node) {
        if key.as_text() == Some("<<") && self.merge(&value) {
            return;
        }
        let entry = Entry { key, value };
        let Some(name) = entry.key.as_text().map(str::to_owned) else {
            self.entries.push(entry);
            return;
        };
        if let Some(before) = self.index.get(&name).and_then(|index| self.entries.get_mut(*index)) {
            let position = entry.key.position;
            self.replaced.push((std::mem::replace(before, entry), position));
        } else {
            self.index.insert(name, self.entries.len());
            self.entries.push(entry);
        }
    }

    /// Takes over the entries of a merged mapping; in a list of mappings, the first with a key wins.
    fn merge(&mut self, value: &Node) -> bool {
        let sources: Vec<&Self> = match &value.value {
            Value::Map(map) => vec![map],
            Value::List(nodes) => nodes.iter().rev().filter_map(Node::as_map).collect(),
            Value::Scalar(_) => return false,
        };
        for entry in sources.into_iter().flat_map(|map| map.entries.clone()) {
            self.insert(entry.key, entry.value);
        }
        true
    }
}

impl Node {
    /// The text, if it is text and not a number or the like.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.kind == Kind::Text => Some(&scalar.text),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(super) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(super) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(|scalar| scalar.kind == Kind::Null)
    }

    /// Whether Ruby takes it for no: null or false.
    pub(super) fn is_falsy(&self) -> bool {
        self.as_scalar().is_some_and(|scalar| matches!(scalar.kind, Kind::Null | Kind::Bool(false)))
    }

    /// The node in a message: what it is and how it begins.
    pub(super) fn describe(&self) -> String {
        let scalar = match &self.value {
            Value::List(_) => return "a list".to_owned(),
            Value::Map(_) => return "a mapping".to_owned(),
            Value::Scalar(scalar) => scalar,
        };
        let text = excerpt(&scalar.text);
        match scalar.kind {
            Kind::Null => "empty".to_owned(),
            Kind::Bool(value) if value.to_string() == scalar.text => format!("`{text}`"),
            Kind::Bool(value) => format!("`{text}` ({value})"),
            Kind::Int(value) if value.to_string() == scalar.text => format!("the number `{text}`"),
            Kind::Int(value) => format!("the number `{text}` ({value})"),
            Kind::Float(_) => format!("the number `{text}`"),
            Kind::Symbol => format!("the symbol `{text}`"),
            Kind::Timestamp => format!("the date `{text}`"),
            Kind::Text => format!("the text `{text}`"),
        }
    }
}

/// The beginning of a text, short enough for a message and on one line.
pub(super) fn excerpt(text: &str) -> String {
    let mut short: String =
        text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}
