//! How users write groups, objects and tags.

use std::str::FromStr;

/// `KEY=VALUE` of a tag.
pub(crate) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write a tag as KEY=VALUE, such as role=web".to_owned()),
    }
}

/// `APP/GROUP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupName {
    pub(crate) application: String,
    pub(crate) group: String,
}

impl FromStr for GroupName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((application, group))
                if !application.is_empty() && !group.is_empty() && !group.contains('/') =>
            {
                Ok(Self { application: application.to_owned(), group: group.to_owned() })
            }
            Some(_) | None => {
                Err("write the application and the group as APP/GROUP, such as shop/web".to_owned())
            }
        }
    }
}

impl std::fmt::Display for GroupName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.application, self.group)
    }
}

/// `s3://BUCKET/KEY`; the key may be empty where it is a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct S3Url {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl FromStr for S3Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.strip_prefix("s3://").unwrap_or_default();
        let (bucket, key) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return Err(
                "write it as s3://BUCKET/KEY, such as s3://revisions/shop/app.zip".to_owned()
            );
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl std::fmt::Display for S3Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}
