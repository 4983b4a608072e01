//! Page tokens: where a page ended, bound to the partition that was asked, so that a token cannot be used elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::table::{Index, Key, Query, SortRange};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::TOKEN_CHARS_MAX;

/// The token does not belong to the query, or is none of ours.
#[derive(Debug, Error)]
#[error("the page token does not belong to this list; begin again without one")]
pub(crate) struct ForeignToken;

/// The last record of a page.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    /// Which index was asked; none is the table itself.
    #[serde(rename = "i")]
    index: Option<char>,
    /// The partition that was asked, without scope.
    #[serde(rename = "p")]
    partition: String,
    /// The sort key there.
    #[serde(rename = "s")]
    pub(crate) sort: String,
    /// In an index, the record's key in the table.
    #[serde(rename = "k")]
    key: Option<(String, String)>,
}

impl Last {
    /// The end of a page of the table.
    pub(crate) fn of_table(query: &Query, sort: &str) -> Self {
        Self { index: None, partition: query.partition.clone(), sort: sort.to_owned(), key: None }
    }

    /// The end of a page of `index`, where the record `key` has the sort key `sort`.
    pub(crate) fn of_index(index: Index, query: &Query, sort: &str, key: Key) -> Self {
        Self {
            index: Some(letter(index)),
            partition: query.partition.clone(),
            sort: sort.to_owned(),
            key: Some((key.partition, key.sort)),
        }
    }

    /// The record's key in the table, if an index was asked.
    pub(crate) fn key(&self) -> Option<Key> {
        self.key.as_ref().map(|(partition, sort)| Key::new(partition, sort))
    }

    /// The token.
    pub(crate) fn encode(&self) -> Result<String, serde_json::Error> {
        Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(self)?))
    }

    /// Where to go on with `query`, if it names a token.
    pub(crate) fn decode(
        query: &Query,
        index: Option<Index>,
    ) -> Result<Option<Self>, ForeignToken> {
        let Some(token) = &query.after else { return Ok(None) };
        if token.len() > TOKEN_CHARS_MAX {
            return Err(ForeignToken);
        }
        let json = URL_SAFE_NO_PAD.decode(token).map_err(|_| ForeignToken)?;
        let last: Self = serde_json::from_slice(&json).map_err(|_| ForeignToken)?;
        let inside = match &query.range {
            SortRange::Prefix(prefix) => last.sort.starts_with(prefix),
            SortRange::Between(low, high) => *low <= last.sort && last.sort <= *high,
        };
        let same_place = last.index == index.map(letter) && last.partition == query.partition;
        if inside && same_place && last.key.is_some() == index.is_some() {
            Ok(Some(last))
        } else {
            Err(ForeignToken)
        }
    }
}

fn letter(index: Index) -> char {
    match index {
        Index::Listed => 'l',
        Index::Waking => 'w',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_only_fits_the_query_that_it_came_from() {
        let mut query = Query::prefix("dep", "host#", 10);
        let token = Last::of_table(&query, "host#7").encode().unwrap();
        query.after = Some(token.clone());
        assert_eq!(Last::decode(&query, None).unwrap().unwrap().sort, "host#7");
        assert!(Last::decode(&query, Some(Index::Listed)).is_err());
        let after = |query: Query, token: &str| Query { after: Some(token.to_owned()), ..query };
        let elsewhere = after(Query::prefix("other", "host#", 10), &token);
        assert!(Last::decode(&elsewhere, None).is_err());
        let outside = after(Query::prefix("dep", "batch#", 10), &token);
        assert!(Last::decode(&outside, None).is_err());
        for nonsense in ["", "!", "bnVsbA", "W10", &"A".repeat(1 << 20)] {
            assert!(Last::decode(&after(query.clone(), nonsense), None).is_err());
        }
    }

    #[test]
    fn a_token_of_an_index_keeps_the_key_in_the_table() {
        let mut query = Query::prefix("group", "", 10);
        let last = Last::of_index(Index::Waking, &query, "2026", Key::new("dep#1", "meta"));
        query.after = Some(last.encode().unwrap());
        let read = Last::decode(&query, Some(Index::Waking)).unwrap().unwrap();
        assert_eq!((&read, read.key()), (&last, Some(Key::new("dep#1", "meta"))));
        assert!(Last::decode(&query, Some(Index::Listed)).is_err());
    }
}
