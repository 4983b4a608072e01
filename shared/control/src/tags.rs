//! Tags, and the filters that select by them (`docs/semantics.md#hosts`).

use std::collections::BTreeMap;

use wire::codedeploy::TagFilter;

/// Whether a filter matches tags, exactly and with regard to case.
pub(crate) fn matches(filter: &TagFilter, tags: &BTreeMap<String, String>) -> bool {
    let key = filter.key.as_deref().unwrap_or_default();
    let value = filter.value.as_deref().unwrap_or_default();
    let default = match (&filter.key, &filter.value) {
        (Some(_), Some(_)) => "KEY_AND_VALUE",
        (None, Some(_)) => "VALUE_ONLY",
        (_, None) => "KEY_ONLY",
    };
    match filter.r#type.as_deref().unwrap_or(default) {
        "KEY_ONLY" => tags.contains_key(key),
        "VALUE_ONLY" => tags.values().any(|tag| tag == value),
        _ => tags.get(key).is_some_and(|tag| tag == value),
    }
}
