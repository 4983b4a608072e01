//! Whose records these are: the account and the region that every partition key begins with.

use thiserror::Error;

/// An account and a region. Records of different scopes never meet, though they lie in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    prefix: String,
}

/// Why an account and a region are no scope.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{what} `{value}` must be made of letters, digits and hyphens; check the configuration")]
pub struct ScopeError {
    what: &'static str,
    value: String,
}

impl Scope {
    /// The scope of `account` and `region`.
    ///
    /// # Errors
    /// When one of them is empty, or has other characters than ASCII letters, digits and hyphens: `#` separates them.
    pub fn new(account: &str, region: &str) -> Result<Self, ScopeError> {
        for (what, value) in [("the account", account), ("the region", region)] {
            let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if value.is_empty() || !plain {
                return Err(ScopeError { what, value: value.to_owned() });
            }
        }
        Ok(Self { prefix: format!("{account}#{region}#") })
    }

    /// The stored form of a partition.
    pub(crate) fn add(&self, partition: &str) -> String {
        format!("{}{partition}", self.prefix)
    }

    /// The partition of a stored form; none if it is of another scope.
    pub(crate) fn remove<'p>(&self, stored: &'p str) -> Option<&'p str> {
        stored.strip_prefix(&self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_another_scope_are_not_ours() {
        let ours = Scope::new("111111111111", "eu-west-1").unwrap();
        let theirs = Scope::new("111111111111", "eu-west-2").unwrap();
        assert_eq!(ours.add("dep#d-1"), "111111111111#eu-west-1#dep#d-1");
        assert_eq!(ours.remove(&ours.add("dep#d-1")), Some("dep#d-1"));
        assert_eq!(ours.remove(&theirs.add("dep#d-1")), None);
        assert!(Scope::new("1#2", "eu").is_err());
        assert!(Scope::new("1", "").is_err());
    }
}
