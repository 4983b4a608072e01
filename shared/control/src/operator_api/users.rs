//! Which deployment groups name something that somebody is about to remove.

use wire::codedeploy::GroupSettings;

use crate::rows::{self, Application};
use crate::table::Query;
use crate::{Error, OperatorApi};

/// How many groups are told by name.
const TOLD: usize = 5;

/// Deployment groups that name something, each as `APPLICATION/GROUP`, in order; at least one.
#[derive(Debug)]
pub(super) struct Users(Vec<String>);

impl Users {
    /// The words for a sentence: what they are, and how many more.
    pub(super) fn told(&self) -> String {
        let named: Vec<String> = self.0.iter().take(TOLD).map(|name| format!("`{name}`")).collect();
        let named = match self.0.len().saturating_sub(TOLD) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        };
        let noun = if self.0.len() == 1 { "deployment group" } else { "deployment groups" };
        format!("{noun} {named}")
    }

    /// The first of them.
    pub(super) fn first(&self) -> &str {
        self.0.first().map_or("APP/GROUP", String::as_str)
    }
}

impl OperatorApi {
    /// The groups whose settings name something; none if there are none.
    pub(super) async fn users(
        &self,
        names: impl Fn(&GroupSettings) -> bool,
    ) -> Result<Option<Users>, Error> {
        let query = Query::prefix(Application::ALL, "", 1000);
        let mut found = Vec::new();
        for application in rows::load_all::<Application>(&*self.base.table, query).await? {
            let groups = self.groups_of(&application.row.id).await?.into_iter();
            let users = groups.filter(|group| names(&group.settings));
            found.extend(users.map(|group| format!("{}/{}", application.row.name, group.name)));
        }
        found.sort();
        Ok(Some(Users(found)).filter(|users| !users.0.is_empty()))
    }
}
