//! The AppSpec of a Lambda deployment: one function, its alias, two of its versions, and its hook functions
//! (`docs/semantics.md#lambda`). Keys are told apart by their letters alone, not by their case, because tools write both.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Position;
use super::document;
use super::yaml::{Entry, Map, Node, Value};
use crate::deployment::Alias;
use crate::lifecycle::Event;

/// What is wrong with the AppSpec of a Lambda deployment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{message}", place(.position.as_ref()))]
pub struct LambdaSpecError {
    /// Where, if it is one place.
    pub position: Option<Position>,
    /// What, and what to do.
    pub message: String,
}

fn place(position: Option<&Position>) -> String {
    position.map(|at| format!("line {}, column {}: ", at.line, at.column)).unwrap_or_default()
}

/// Reads the AppSpec of a Lambda deployment, YAML or JSON.
///
/// # Errors
/// See [`LambdaSpecError`].
pub fn parse_lambda(text: &[u8]) -> Result<Alias, LambdaSpecError> {
    let document = document::read(text).map_err(|error| LambdaSpecError {
        position: None,
        message: error.in_file("the AppSpec"),
    })?;
    let Some(root) = document.root else { return Err(missing(None, "Resources")) };
    let root = map(&root, "the AppSpec")?;
    let version = get(root, "version").and_then(|entry| entry.value.as_scalar());
    if version.is_none_or(|version| version.text != "0.0") {
        return Err(wrong(None, "`version` has to be 0.0"));
    }
    let resource = only_resource(root)?;
    let kind = get(resource, "Type").map(|entry| &entry.value);
    if kind.and_then(Node::as_text) != Some("AWS::Lambda::Function") {
        let at = kind.map(|kind| kind.position);
        return Err(wrong(at, "the `Type` of the resource has to be AWS::Lambda::Function"));
    }
    let Some(properties) = get(resource, "Properties") else {
        return Err(missing(None, "Properties"));
    };
    let properties = map(&properties.value, "`Properties`")?;
    let alias = Alias {
        function: property(properties, "Name")?,
        alias: property(properties, "Alias")?,
        old: version_of(properties, "CurrentVersion")?,
        new: version_of(properties, "TargetVersion")?,
        hooks: hooks(root)?,
    };
    if alias.old == alias.new {
        return Err(wrong(
            None,
            "`TargetVersion` is the `CurrentVersion`: publish a new version, and name that",
        ));
    }
    Ok(alias)
}

fn wrong(position: Option<Position>, message: &str) -> LambdaSpecError {
    LambdaSpecError { position, message: message.to_owned() }
}

fn missing(position: Option<Position>, key: &str) -> LambdaSpecError {
    wrong(position, &format!("`{key}` is missing"))
}

fn map<'a>(node: &'a Node, what: &str) -> Result<&'a Map, LambdaSpecError> {
    node.as_map().ok_or_else(|| {
        wrong(
            Some(node.position),
            &format!("{what} has to be a mapping, and is {}", node.describe()),
        )
    })
}

fn get<'a>(map: &'a Map, key: &str) -> Option<&'a Entry> {
    let is_key = |entry: &&Entry| {
        entry.key.as_scalar().is_some_and(|name| name.text.eq_ignore_ascii_case(key))
    };
    map.entries.iter().find(is_key)
}

/// The resource, of which there is one: in a list of mappings with one key each.
fn only_resource(root: &Map) -> Result<&Map, LambdaSpecError> {
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
        _ => Err(wrong(Some(node.position), "`Resources` has to name exactly one function")),
    }
}

fn property(map: &Map, key: &str) -> Result<String, LambdaSpecError> {
    let Some(entry) = get(map, key) else { return Err(missing(None, key)) };
    let scalar = entry.value.as_scalar().filter(|scalar| !scalar.text.trim().is_empty());
    scalar.map(|scalar| scalar.text.clone()).ok_or_else(|| {
        let message = format!("`{key}` has to be a text, and is {}", entry.value.describe());
        wrong(Some(entry.value.position), &message)
    })
}

fn version_of(map: &Map, key: &str) -> Result<String, LambdaSpecError> {
    let version = property(map, key)?;
    let is_number = version.parse::<u64>().is_ok_and(|number| number > 0);
    if is_number {
        return Ok(version);
    }
    let at = get(map, key).map(|entry| entry.value.position);
    Err(wrong(at, &format!("`{key}` has to be a published version, as \"4\", and is `{version}`")))
}

/// The hook functions: a list of mappings with one event each, or a mapping.
fn hooks(root: &Map) -> Result<BTreeMap<Event, String>, LambdaSpecError> {
    let mut hooks = BTreeMap::new();
    let Some(given) = get(root, "Hooks").filter(|entry| !entry.value.is_null()) else {
        return Ok(hooks);
    };
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
        let event = [Event::BeforeAllowTraffic, Event::AfterAllowTraffic];
        let event = event.into_iter().find(|event| event.name().eq_ignore_ascii_case(name));
        let function = entry.value.as_scalar().filter(|scalar| !scalar.text.trim().is_empty());
        match (event, function) {
            (Some(event), Some(function)) => {
                hooks.insert(event, function.text.clone());
            }
            (None, _) => {
                let message = format!(
                    "`{name}` is no event of a Lambda deployment: there are BeforeAllowTraffic and AfterAllowTraffic"
                );
                return Err(wrong(Some(entry.key.position), &message));
            }
            (Some(event), None) => {
                let message = format!("the hook of {event} has to name a function");
                return Err(wrong(Some(entry.value.position), &message));
            }
        }
    }
    Ok(hooks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "version: 0.0
Resources:
  - shop:
      Type: AWS::Lambda::Function
      Properties: {Name: shop, Alias: live, CurrentVersion: \"1\", TargetVersion: 2}
Hooks:
  - BeforeAllowTraffic: check-before
  - AfterAllowTraffic: arn:aws:lambda:us-east-1:123456789012:function:check-after
";

    #[test]
    fn yaml_and_json_of_any_case_are_read() {
        let read = parse_lambda(WHOLE.as_bytes()).unwrap();
        assert_eq!((read.function.as_str(), read.alias.as_str()), ("shop", "live"));
        assert_eq!((read.old.as_str(), read.new.as_str()), ("1", "2"));
        assert_eq!(read.hooks[&Event::BeforeAllowTraffic], "check-before");
        let json = r#"{"version":"0.0","resources":[{"shop":{"type":"AWS::Lambda::Function","properties":
            {"name":"shop","alias":"live","currentVersion":"1","targetVersion":"2"}}}],"hooks":[]}"#;
        let hooks = BTreeMap::new();
        assert_eq!(parse_lambda(json.as_bytes()).unwrap(), Alias { hooks, ..read });
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let refused = |from: &str, to: &str| {
            parse_lambda(WHOLE.replace(from, to).as_bytes()).unwrap_err().to_string()
        };
        for (from, to, expected) in [
            ("0.0", "1.0", "`version` has to be 0.0"),
            ("AWS::Lambda::Function", "AWS::ECS::Service", "line 4, column 13: the `Type`"),
            ("Alias: live, ", "", "`Alias` is missing"),
            ("TargetVersion: 2", "TargetVersion: $LATEST", "has to be a published version"),
            ("TargetVersion: 2", "TargetVersion: 1", "is the `CurrentVersion`"),
            ("AfterAllowTraffic", "AfterInstall", "line 8, column 5: `AfterInstall` is no event"),
            ("check-before", "[]", "the hook of BeforeAllowTraffic has to name a function"),
            ("  - shop:", "  - other: {}\n  - shop:", "exactly one function"),
        ] {
            let said = refused(from, to);
            assert!(said.contains(expected), "{to}: {said}");
        }
        assert_eq!(parse_lambda(b"").unwrap_err().to_string(), "`Resources` is missing");
    }
}
