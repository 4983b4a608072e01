//! The statements of a role, as YAML of the template.

use std::collections::{BTreeMap, BTreeSet};

use super::function::Function;
use super::places::{On, Place, key_places};

/// What a role is only given where the user has named roles for what is launched.
const LAUNCHES: [On; 3] = [On::Launches, On::LaunchTags, On::CopiedRoles];

/// Most actions that stand in one line.
const INLINE_MAX: usize = 3;

/// A statement: actions on resources, under a condition.
struct Statement {
    sid: String,
    /// Why it is as wide as it is; empty where that needs no reason.
    why: &'static str,
    actions: BTreeSet<&'static str>,
    resource: String,
    condition: String,
}

/// The statements of a function's role, each line indented by `indent` blanks.
pub fn statements(function: Function, indent: usize) -> String {
    let mut all: Vec<Statement> = grouped(function)
        .into_iter()
        .filter(|(on, _)| !LAUNCHES.contains(on))
        .flat_map(|(on, actions)| statements_on(function, on, &actions))
        .collect();
    let keys = function.calls().flat_map(|call| call.key).copied().collect();
    let condition = key_places().first().map(|place| place.condition.clone()).unwrap_or_default();
    let (sid, resource) = ("Key".to_owned(), "*key".to_owned());
    let why = "Only through the services that keep something with it.";
    all.push(Statement { sid, why, actions: keys, resource, condition });
    written(&all, indent)
}

/// Those that a role is given besides where the user has named roles.
pub fn launch_statements(function: Function, indent: usize) -> String {
    let grouped = grouped(function).into_iter().filter(|(on, _)| LAUNCHES.contains(on));
    let all: Vec<Statement> =
        grouped.flat_map(|(on, actions)| statements_on(function, on, &actions)).collect();
    written(&all, indent)
}

/// The actions that a function takes, by what it takes them on.
fn grouped(function: Function) -> BTreeMap<On, BTreeSet<&'static str>> {
    let mut grouped: BTreeMap<On, BTreeSet<&'static str>> = BTreeMap::new();
    for call in function.calls() {
        grouped.entry(call.on).or_default().extend(call.actions());
    }
    grouped
}

/// One statement for all places of the same condition.
fn statements_on(function: Function, on: On, actions: &BTreeSet<&'static str>) -> Vec<Statement> {
    let mut by_condition: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for place in on.places(function) {
        by_condition.entry(place.condition.clone()).or_default().push(place);
    }
    let is_one = by_condition.len() == 1;
    let statement = |(number, (condition, places)): (usize, (String, Vec<Place>))| Statement {
        sid: if is_one { format!("{on:?}") } else { format!("{on:?}{}", number + 1) },
        why: on.why(),
        actions: actions.clone(),
        resource: resource_of(on, &places),
        condition,
    };
    by_condition.into_iter().enumerate().map(statement).collect()
}

/// The resources of a statement. The stack has one document, its own or AWS's.
fn resource_of(on: On, places: &[Place]) -> String {
    let texts: Vec<String> = places.iter().map(|place| value(&place.resource)).collect();
    match texts.as_slice() {
        [own, other] if on == On::Hosts => format!("!If [MakesDocument, {own}, {other}]"),
        _ => list(texts),
    }
}

/// A text with parts that the template fills in, in the shortest way that YAML has for it.
fn value(text: &str) -> String {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match inner.filter(|inner| !inner.contains('{')) {
        Some(inner) if inner.contains('.') => format!("!GetAtt {inner}"),
        Some(inner) => format!("!Ref {inner}"),
        None if text.contains("${") => format!("!Sub \"{text}\""),
        None => format!("\"{text}\""),
    }
}

/// A list, or what alone is in it.
fn list(texts: impl IntoIterator<Item = impl Into<String>>) -> String {
    let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

fn written(all: &[Statement], indent: usize) -> String {
    let blanks = " ".repeat(indent);
    let mut text = String::new();
    for Statement { sid, why, actions, resource, condition } in all {
        if !why.is_empty() {
            text.push_str(&format!("{blanks}# {why}\n"));
        }
        text.push_str(&format!("{blanks}- Sid: {sid}\n{blanks}  Effect: Allow\n"));
        if actions.len() > INLINE_MAX {
            text.push_str(&format!("{blanks}  Action:\n"));
            actions.iter().for_each(|one| text.push_str(&format!("{blanks}    - {one}\n")));
        } else {
            text.push_str(&format!("{blanks}  Action: {}\n", list(actions.iter().copied())));
        }
        text.push_str(&format!("{blanks}  Resource: {resource}\n"));
        let conditions: Vec<&str> = condition.split("; ").filter(|one| !one.is_empty()).collect();
        if !conditions.is_empty() {
            text.push_str(&format!("{blanks}  Condition:\n"));
        }
        for one in conditions {
            text.push_str(&format!("{blanks}    {}\n", condition_of(one)));
        }
    }
    text
}

/// A condition: the operator, the key, and the values of which one has to match.
fn condition_of(text: &str) -> String {
    let mut words = text.split(' ');
    let (operator, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let values =
        list(words.map(|word| if word == "false" { word.to_owned() } else { value(word) }));
    format!("\"{operator}\": {{ \"{key}\": {values} }}")
}
