//! Pages of listings. A token names the operation and what was listed, so that one cannot be mistaken for another.

use engine::DeploymentId;
use sha2::{Digest, Sha256};
use wire::codedeploy::ErrorName;

use super::refuse;
use crate::rows::{self, HostRow, Row};
use crate::table::{Query, TableError};
use crate::{Error, OperatorApi};

/// How many items are on a page.
pub(super) const PAGE: usize = 100;

/// What tokens of one listing have in common.
pub(super) struct Listing {
    mark: String,
}

impl Listing {
    /// The listing of `what` by `operation`.
    pub(super) fn new(operation: &str, what: &str) -> Self {
        let digest = Sha256::digest([operation, "\n", what].concat());
        Self { mark: hex::encode(digest).chars().take(16).collect() }
    }

    /// The token that leads to `place`.
    pub(super) fn token(&self, place: &str) -> String {
        [self.mark.as_str(), &hex::encode(place)].concat()
    }

    /// The place that a client's token leads to; absent and empty mean the beginning.
    ///
    /// # Errors
    /// `InvalidNextTokenException` for a token of something else.
    pub(super) fn place(&self, token: Option<&str>) -> Result<Option<String>, Error> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        let place = token.strip_prefix(&self.mark).and_then(|rest| hex::decode(rest).ok());
        let place = place.and_then(|bytes| String::from_utf8(bytes).ok());
        place.map(Some).ok_or_else(foreign)
    }
}

fn foreign() -> Error {
    let message = "The token is of no page of this listing. List again from the beginning.";
    refuse(ErrorName::InvalidNextToken, message)
}

impl OperatorApi {
    /// One page of the rows of a partition, and the token of the next.
    pub(super) async fn page<T: Row>(
        &self,
        operation: &str,
        mut query: Query,
        token: Option<&str>,
    ) -> Result<(Vec<T>, Option<String>), Error> {
        let listing = Listing::new(operation, &query.partition);
        query.after = listing.place(token)?;
        let page = match rows::load_page::<T>(&*self.base.table, &query).await {
            Err(Error::Table(TableError::Refused(_))) if query.after.is_some() => {
                return Err(foreign());
            }
            page => page?,
        };
        let next = page.next.map(|place| listing.token(&place));
        Ok((page.items.into_iter().map(|stored| stored.row).collect(), next))
    }
}

impl OperatorApi {
    /// One page of the hosts of a deployment, by their ordinals, and the token of the next.
    pub(super) async fn page_of_hosts(
        &self,
        id: &DeploymentId,
        token: Option<&str>,
    ) -> Result<(Vec<HostRow>, Option<String>), Error> {
        let listing = Listing::new("ListDeploymentTargets", id.as_str());
        let from = listing.place(token)?.map(|place| place.parse::<u32>()).transpose();
        let from = from.map_err(|_| foreign())?.unwrap_or(0);
        let end = from.saturating_add(u32::try_from(PAGE).unwrap_or(u32::MAX));
        let hosts = self.base.hosts_at(id, from..end).await?;
        // Ordinals are dense.
        let next = (hosts.len() >= PAGE).then(|| listing.token(&end.to_string()));
        Ok((hosts.into_iter().map(|stored| stored.row).collect(), next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place_and_fits_no_other_listing() {
        let listing = Listing::new("ListApplications", "");
        let token = listing.token("a/b");
        assert_eq!(listing.place(Some(&token)).unwrap().as_deref(), Some("a/b"));
        assert_eq!(listing.place(Some("")).unwrap(), None);
        let other = Listing::new("ListDeploymentConfigs", "");
        for foreign in [token.as_str(), "x", "🦀"] {
            let error = other.place(Some(foreign)).unwrap_err();
            assert!(error.to_string().starts_with("InvalidNextToken"), "{error}");
        }
    }
}
