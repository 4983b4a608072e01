//! The AppSpec of a Lambda deployment: one function, its alias, two of its versions, and its hook functions
//! (`docs/semantics.md#lambda`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::resource::{Kind, Resource, ResourceError, get, property, wrong};
use super::yaml::Map;
use crate::lifecycle::Event;

/// An alias of a Lambda function, and the versions that its traffic moves between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// The function's name or ARN.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// The version that has the traffic.
    pub old: String,
    /// The version that is to get it.
    pub new: String,
    /// The function that each event calls.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<Event, String>,
}

const FUNCTION: Kind = Kind {
    resource: "AWS::Lambda::Function",
    noun: "function",
    events: &[Event::BeforeAllowTraffic, Event::AfterAllowTraffic],
};

/// Reads the AppSpec of a Lambda deployment, YAML or JSON.
///
/// # Errors
/// See [`ResourceError`].
pub fn parse_lambda(text: &[u8]) -> Result<Alias, ResourceError> {
    let Resource { properties, hooks } = Resource::read(text, &FUNCTION)?;
    let alias = Alias {
        function: property(&properties, "Name")?,
        alias: property(&properties, "Alias")?,
        old: version_of(&properties, "CurrentVersion")?,
        new: version_of(&properties, "TargetVersion")?,
        hooks,
    };
    if alias.old == alias.new {
        return Err(wrong(
            None,
            "`TargetVersion` is the `CurrentVersion`: publish a new version, and name that",
        ));
    }
    Ok(alias)
}

fn version_of(map: &Map, key: &str) -> Result<String, ResourceError> {
    let version = property(map, key)?;
    let is_number = version.parse::<u64>().is_ok_and(|number| number > 0);
    if is_number {
        return Ok(version);
    }
    let at = get(map, key).map(|entry| entry.value.position);
    Err(wrong(at, &format!("`{key}` has to be a published version, as \"4\", and is `{version}`")))
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
