//! `template.yaml` as CloudFormation sees it: tags in their long form (`!Ref A` is `{"Ref": "A"}`), aliases and merges
//! written out.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of a parser's events, few can come at any place"
)]

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value, json};

use crate::house::root;

/// The template.
pub(crate) struct Template {
    whole: Value,
}

impl Template {
    /// Reads it.
    pub(crate) fn read() -> Self {
        Self { whole: parse(&std::fs::read_to_string(root().join("template.yaml")).unwrap()) }
    }

    /// What stands at a JSON pointer.
    #[track_caller]
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.whole.pointer(pointer).unwrap_or_else(|| panic!("the template has no `{pointer}`"))
    }

    /// A section's members.
    #[track_caller]
    pub(crate) fn members(&self, section: &str) -> &Map<String, Value> {
        self.at(&format!("/{section}")).as_object().unwrap()
    }

    /// The resources of a type, by their names.
    pub(crate) fn resources(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        let of_kind = move |(_, resource): &(&String, &Value)| resource["Type"] == kind;
        self.members("Resources")
            .iter()
            .filter(of_kind)
            .map(|(name, resource)| (name.as_str(), &resource["Properties"]))
    }
}

/// What a value says, in the notation of `!Sub`; several texts where a condition chooses, and for a list.
#[track_caller]
pub(crate) fn texts(value: &Value) -> Vec<String> {
    let function = |map: &Map<String, Value>| {
        let (name, of) = map.iter().next().filter(|_| map.len() == 1)?;
        Some(match (name.as_str(), of) {
            ("Ref", Value::String(name)) => vec![format!("${{{name}}}")],
            ("Fn::GetAtt", Value::Array(parts)) => {
                let parts: Vec<&str> = parts.iter().map(|part| part.as_str().unwrap()).collect();
                vec![format!("${{{}}}", parts.join("."))]
            }
            ("Fn::Sub", Value::String(text)) => vec![text.clone()],
            ("Fn::If", Value::Array(parts)) => parts.iter().skip(1).flat_map(texts).collect(),
            _ => return None,
        })
    };
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(map) => function(map).unwrap_or_else(|| panic!("{value} says no text")),
        Value::Null => panic!("nothing is there"),
    }
}

fn parse(text: &str) -> Value {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap().0);
    let mut anchors = HashMap::new();
    loop {
        match events.next().expect("the template has a document") {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            first => return node(first, &mut events, &mut anchors),
        }
    }
}

fn node<'t>(
    event: Event<'t>,
    events: &mut impl Iterator<Item = Event<'t>>,
    anchors: &mut HashMap<usize, Value>,
) -> Value {
    let (anchor, tag, value) = match event {
        Event::Alias(anchor) => return anchors[&anchor].clone(),
        Event::Scalar(text, style, anchor, tag) => (anchor, tag, scalar(&text, style)),
        Event::SequenceStart(anchor, tag) => {
            let mut values = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::SequenceEnd => break,
                    event => values.push(node(event, events, anchors)),
                }
            }
            (anchor, tag, Value::Array(values))
        }
        Event::MappingStart(anchor, tag) => (anchor, tag, mapping(events, anchors)),
        other => panic!("{other:?} begins no value"),
    };
    let value = match tag {
        Some(tag) => tagged(&tag, value),
        None => value,
    };
    if anchor != 0 {
        anchors.insert(anchor, value.clone());
    }
    value
}

fn mapping<'t>(
    events: &mut impl Iterator<Item = Event<'t>>,
    anchors: &mut HashMap<usize, Value>,
) -> Value {
    let mut map = Map::new();
    let mut merged = Map::new();
    loop {
        let key = match events.next().unwrap() {
            Event::MappingEnd => break,
            Event::Scalar(text, ..) => text.into_owned(),
            other => panic!("{other:?} is no key"),
        };
        let value = events.next().unwrap();
        let value = node(value, events, anchors);
        if key == "<<" {
            merged = value.as_object().unwrap().clone();
        } else {
            assert!(map.insert(key.clone(), value).is_none(), "`{key}` stands twice in a mapping");
        }
    }
    merged.extend(map);
    Value::Object(merged)
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match (style, text) {
        (ScalarStyle::Plain, "true") => json!(true),
        (ScalarStyle::Plain, "false") => json!(false),
        (ScalarStyle::Plain, "" | "null" | "~") => Value::Null,
        (ScalarStyle::Plain, _) => text.parse::<i64>().map_or_else(|_| json!(text), Value::from),
        (_, _) => json!(text),
    }
}

fn tagged(tag: &Tag, value: Value) -> Value {
    match (tag.suffix.as_str(), value) {
        ("Ref" | "Condition", value) => json!({ tag.suffix.clone(): value }),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').unwrap();
            json!({ "Fn::GetAtt": [resource, attribute] })
        }
        (function, value) => json!({ format!("Fn::{function}"): value }),
    }
}
