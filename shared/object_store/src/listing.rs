//! Pages of a bucket's listing: prefix, delimiter, where to go on, and the names' encoding.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{CommonPrefix, ETag, EncodingType, Object, ObjectStorageClass};
use s3s::{S3Error, S3Result};

use super::record::Record;

/// S3's most per page.
const PAGE_MAX: i32 = 1000;
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What to list.
pub(super) struct Query {
    pub(super) prefix: String,
    pub(super) delimiter: Option<String>,
    /// The last name of the page before, a key or a common prefix; empty for the first page.
    pub(super) after: String,
    pub(super) max_keys: Option<i32>,
    pub(super) url_encoded: bool,
}

/// One page.
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) common_prefixes: Vec<CommonPrefix>,
    pub(super) max_keys: i32,
    /// The last name of this page, not encoded, when there is more.
    pub(super) next: Option<String>,
}

impl Page {
    /// The number of names on the page.
    pub(super) fn count(&self) -> i32 {
        let count = self.objects.len().saturating_add(self.common_prefixes.len());
        i32::try_from(count).unwrap_or(i32::MAX)
    }
}

/// Cuts the page out of `records`, which all have the prefix and are in the order of their keys.
pub(super) fn page(records: &[Record], query: &Query) -> S3Result<Page> {
    let max_keys = query.max_keys.unwrap_or(PAGE_MAX).clamp(0, PAGE_MAX);
    let mut page = Page { objects: Vec::new(), common_prefixes: Vec::new(), max_keys, next: None };
    let mut last = query.after.as_str();
    for record in records {
        let group = query.group(&record.key);
        let seen =
            record.key.as_str() <= query.after.as_str() || group.is_some_and(|group| group == last);
        if seen {
            continue;
        }
        if page.count() >= max_keys {
            page.next = (max_keys > 0).then(|| last.to_owned());
            break;
        }
        if let Some(group) = group {
            let prefix = Some(query.encode(group));
            page.common_prefixes.push(CommonPrefix { prefix });
        } else {
            page.objects.push(query.object(record)?);
        }
        last = group.unwrap_or(&record.key);
    }
    Ok(page)
}

impl Query {
    /// The common prefix that the key is listed under, if any.
    fn group<'a>(&self, key: &'a str) -> Option<&'a str> {
        let delimiter = self.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
        let rest = key.strip_prefix(self.prefix.as_str())?;
        let end = self.prefix.len() + rest.find(delimiter)? + delimiter.len();
        key.get(..end)
    }

    /// The name as the answer has to spell it.
    pub(super) fn encode(&self, name: &str) -> String {
        if self.url_encoded {
            utf8_percent_encode(name, ENCODED).to_string()
        } else {
            name.to_owned()
        }
    }

    /// What the answer has to say about its spelling.
    pub(super) fn encoding(&self) -> Option<EncodingType> {
        self.url_encoded.then(|| EncodingType::from_static(EncodingType::URL))
    }

    fn object(&self, record: &Record) -> S3Result<Object> {
        Ok(Object {
            key: Some(self.encode(&record.key)),
            e_tag: Some(ETag::Strong(record.etag.clone())),
            last_modified: Some(record.modified.clone()),
            size: Some(i64::try_from(record.size).map_err(S3Error::internal_error)?),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            ..Object::default()
        })
    }
}
