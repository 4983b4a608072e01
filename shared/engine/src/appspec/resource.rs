//! The AppSpec of a deployment that goes to no hosts: one resource, its properties, and hook functions
//! (`docs/semantics.md#lambda`, `docs/semantics.md#ecs`). Keys are told apart by their letters alone, not by their case,
//! because tools write both.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Position;
use super::document;
use super::yaml::{Entry, Map, Node, Value};
use crate::lifecycle::Event;

/// What is wrong with the AppSpec of a deployment that goes to no hosts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{message}", place(.position.as_ref()))]
pub struct ResourceError {
    /// Where, if it is one place.
    pub position: Option<Position>,
    /// What, and what to do.
    pub message: String,
}

fn place(position: Option<&Position>) -> String {
    position.map(|at| format!("line {}, column {}: ", at.line, at.column)).unwrap_or_default()
}

/// What such an AppSpec may say.
pub(super) struct Kind {
    /// The type of its resource.
    pub(super) resource: &'static str,
    /// What the resource is, in words.
    pub(super) noun: &'static str,
    /// The events that have hooks, in order.
    pub(super) events: &'static [Event],
}

/// The properties of the resource, and the function that each event calls.
pub(super) struct Resource {
    pub(super) properties: Map,
    pub(super) hooks: BTreeMap<Event, String>,
}

impl Resource {
    /// Reads an AppSpec of this kind, YAML or JSON.
    pub(super) fn read(text: &[u8], kind: &Kind) -> Result<Self, ResourceError> {
        let document = document::read(text).map_err(|error| ResourceError {
            position: None,
            message: error.in_file("the AppSpec"),
        })?;
        let Some(root) = document.root else { return Err(missing(None, "Resources")) };
        let root = map(&root, "the AppSpec")?;
        let version = get(root, "version").and_then(|entry| entry.value.as_scalar());
        if version.is_none_or(|version| version.text != "0.0") {
            return Err(wrong(None, "`version` has to be 0.0"));
        }
        let resource = only_resource(root, kind)?;
        let given = get(resource, "Type").map(|entry| &entry.value);
        if given.and_then(Node::as_text) != Some(kind.resource) {
            let at = given.map(|given| given.position);
            let message = format!("the `Type` of the resource has to be {}", kind.resource);
            return Err(wrong(at, &message));
        }
        let Some(properties) = get(resource, "Properties") else {
            return Err(missing(None, "Properties"));
        };
        let properties = map(&properties.value, "`Properties`")?.clone();
        Ok(Self { properties, hooks: hooks(root, kind)? })
    }
}

pub(super) fn wrong(position: Option<Position>, message: &str) -> ResourceError {
    ResourceError { position, message: message.to_owned() }
}

pub(super) fn missing(position: Option<Position>, key: &str) -> ResourceError {
    wrong(position, &format!("`{key}` is missing"))
}

pub(super) fn map<'a>(node: &'a Node, what: &str) -> Result<&'a Map, ResourceError> {
    node.as_map().ok_or_else(|| {
        wrong(
            Some(node.position),
            &format!("{what} has to be a mapping, and is {}", node.describe()),
        )
    })
}

/// The entry of `map` whose key is `key` in letters of either case, if it is not null.
pub(super) fn get<'a>(map: &'a Map, key: &str) -> Option<&'a Entry> {
    let is_key = |entry: &&Entry| {
        entry.key.as_scalar().is_some_and(|name| name.text.eq_ignore_ascii_case(key))
    };
    map.entries.iter().find(is_key).filter(|entry| !entry.value.is_null())
}

/// The text at `key`, which has to be there.
pub(super) fn property(map: &Map, key: &str) -> Result<String, ResourceError> {
    optional(map, key)?.ok_or_else(|| missing(None, key))
}

/// The text at `key`, if it is there.
pub(super) fn optional(map: &Map, key: &str) -> Result<Option<String>, ResourceError> {
    let Some(entry) = get(map, key) else { return Ok(None) };
    text_of(&entry.value, &format!("`{key}`")).map(Some)
}

/// A text that is not empty.
pub(super) fn text_of(node: &Node, what: &str) -> Result<String, ResourceError> {
    let scalar = node.as_scalar().filter(|scalar| !scalar.text.trim().is_empty());
    scalar.map(|scalar| scalar.text.clone()).ok_or_else(|| {
        let message = format!("{what} has to be a text, and is {}", node.describe());
        wrong(Some(node.position), &message)
    })
}

/// The resource, of which there is one: in a list of mappings with one key each.
fn only_resource<'a>(root: &'a Map, kind: &Kind) -> Result<&'a Map, ResourceError> {
    let Some(resources) = get(root, "Resources") else { return Err(missing(None, "Resources")) };
    let node = &resources.value;
    let single = match &node.value {
        Value::List(nodes) => match nodes.as_slice() {
            [one] => one.as_map(),
            _ => None,
        },
        Value::Map(map) => Some(map),
        Value::Scalar(_) => None,
    };
    match single.map(|map| map.entries.as_slice()) {
        Some([entry]) => map(&entry.value, "the resource"),
        _ => {
            let message = format!("`Resources` has to name exactly one {}", kind.noun);
            Err(wrong(Some(node.position), &message))
        }
    }
}

/// The hook functions: a list of mappings with one event each, or a mapping.
fn hooks(root: &Map, kind: &Kind) -> Result<BTreeMap<Event, String>, ResourceError> {
    let mut hooks = BTreeMap::new();
    let Some(given) = get(root, "Hooks") else { return Ok(hooks) };
    let maps: Vec<&Map> = match &given.value.value {
        Value::List(nodes) => {
            nodes.iter().map(|node| map(node, "a hook")).collect::<Result<_, _>>()?
        }
        Value::Map(map) => vec![map],
        Value::Scalar(_) => {
            return Err(wrong(Some(given.value.position), "`Hooks` has to be a list of events"));
        }
    };
    for entry in maps.into_iter().flat_map(|map| &map.entries) {
        let name = entry.key.as_scalar().map(|name| name.text.as_str()).unwrap_or_default();
        let event = kind.events.iter().find(|event| event.name().eq_ignore_ascii_case(name));
        let Some(event) = event else {
            let known: Vec<&str> = kind.events.iter().map(|event| event.name()).collect();
            let message = format!(
                "`{name}` is no event of a deployment of a {}: there are {}",
                kind.noun,
                known.join(", ")
            );
            return Err(wrong(Some(entry.key.position), &message));
        };
        let function = entry.value.as_scalar().filter(|scalar| !scalar.text.trim().is_empty());
        let Some(function) = function else {
            let message = format!("the hook of {event} has to name a function");
            return Err(wrong(Some(entry.value.position), &message));
        };
        hooks.insert(*event, function.text.clone());
    }
    Ok(hooks)
}
