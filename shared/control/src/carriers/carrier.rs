//! What a carrier is: what is asked of it, and what it acts with.

use std::collections::BTreeMap;

use async_trait::async_trait;
use engine::deployment::{Deployment, Request, Shift, Side, Stage, TaskSet};
use engine::lifecycle::Event;
use wire::codedeploy::{ApiError, ComputePlatform, DeploymentTarget, ErrorName, LifecycleEvent};

use crate::Error;
use crate::ports::{Pair, Place, Wanted};
use crate::traffic_evaluator::here::Here;

/// What a carrier acts with: ports where it is, the deployment as it was read last, and the request that is performed.
pub struct Acting<'a> {
    pub(crate) here: &'a Here,
    pub(crate) deployment: &'a Deployment,
    pub(crate) request: Option<&'a Request>,
}

impl Acting<'_> {
    /// The deployment.
    pub fn deployment(&self) -> &Deployment {
        self.deployment
    }

    /// Whether what is performed is still wanted, asked as late as can be: most carriers know nothing of what a request was
    /// meant for, and one that comes late would move the traffic of a later deployment.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn still_wanted(&self) -> Result<bool, Error> {
        let Some(request) = self.request else { return Ok(false) };
        let stored = self.here.base.deployment(self.deployment.id()).await?;
        Ok(stored.is_some_and(|stored| stored.row.deployment.wants(request)))
    }
}

#[async_trait]
impl Wanted for Acting<'_> {
    async fn is_wanted(&self) -> bool {
        self.still_wanted().await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(deployment = %self.deployment.id(), error, "cannot be read; nothing is changed for it");
            false
        })
    }
}

/// What carries the traffic of a deployment.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// What it is deployed on, in CodeDeploy's words.
    fn platform(&self) -> ComputePlatform {
        ComputePlatform::Server
    }

    /// The two target groups that are its sides, where that is what they are.
    fn groups(&self) -> Option<[&str; 2]> {
        None
    }

    /// The target groups that must be there before a deployment begins.
    fn checked_groups(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The target group whose hosts have the traffic before, and are not to be changed; none until that is known.
    fn group_in_use(&self, new_side: Option<u8>) -> Option<&str> {
        sides_of(self.groups(), new_side).map(|(old, _)| old)
    }

    /// Whether a host of the new side is ready for its traffic without having been let in anywhere: it comes in when the
    /// traffic moves.
    fn enters_with_traffic(&self) -> bool {
        false
    }

    /// The names of the new and the old side for people, where they have any.
    fn side_names(&self, new_side: Option<u8>) -> Option<(String, String)> {
        sides_of(self.groups(), new_side).map(|(old, new)| (new.to_owned(), old.to_owned()))
    }

    /// The function that each event calls.
    fn hooks(&self) -> BTreeMap<Event, String> {
        BTreeMap::new()
    }

    /// The events of its one target, each with the stage in which it happens; none where it leads to hosts, which are
    /// targets themselves.
    fn target_events(&self) -> Vec<(Event, Stage)> {
        Vec::new()
    }

    /// Its one target, where it leads to no hosts.
    fn target(
        &self,
        _deployment: &Deployment,
        _place: &Place,
        _events: Vec<LifecycleEvent>,
    ) -> Option<DeploymentTarget> {
        None
    }

    /// How a deployment takes the traffic back to where it was before `deployment`; none where it is not known where that
    /// was.
    ///
    /// # Errors
    /// If that cannot be stored.
    fn way_back(&self, deployment: &Deployment) -> Result<Option<Shift>, serde_json::Error>;

    /// How much of the traffic the second side has before anything is done, in percent.
    ///
    /// # Errors
    /// Refused where it cannot be deployed to.
    async fn second_side(&self, acting: &Acting<'_>) -> Result<u8, Error>;

    /// How much of the traffic the new side has, in percent; none where the sides are not known.
    ///
    /// # Errors
    /// Those of what carries it.
    async fn share(&self, acting: &Acting<'_>) -> Result<Option<u8>, Error>;

    /// What it is changed under, where it is changed only as it was read. Asked before it is asked for the last time whether
    /// a change is wanted.
    ///
    /// # Errors
    /// Those of what carries it.
    async fn revision(&self, _acting: &Acting<'_>) -> Result<String, Error> {
        Ok(String::new())
    }

    /// Asks for the new side to get its share, as long as that is wanted, which is asked anew right before each change. Also what is so already is asked for: something else that was asked for
    /// before may not have come about yet.
    ///
    /// # Errors
    /// Those of what carries it.
    async fn give(&self, acting: &Acting<'_>, percent: u8, revision: &str) -> Result<(), Error>;

    /// Has the tasks of the new side run as long as that is wanted, and tells how all of them stand; none where that is not
    /// known yet.
    ///
    /// # Errors
    /// Those of what runs them.
    async fn bring_up(&self, _acting: &Acting<'_>) -> Result<Option<Vec<TaskSet>>, Error> {
        Ok(None)
    }

    /// Gives the new side the test traffic as long as that is wanted, and tells whether it was read to have it.
    ///
    /// # Errors
    /// Those of what carries it.
    async fn move_test_traffic(&self, _acting: &Acting<'_>) -> Result<bool, Error> {
        Ok(false)
    }

    /// Takes the next step to the end of a side that was read to have no traffic, as long as that is wanted: asked anew right
    /// before anything ends. Tells whether it was read to have come to its end.
    ///
    /// # Errors
    /// Those of what runs there.
    async fn retire(&self, acting: &Acting<'_>, side: Side) -> Result<bool, Error>;
}

/// The old and the new one of two sides, once it is known which is which.
pub fn sides_of(groups: Option<[&str; 2]>, new_side: Option<u8>) -> Option<(&str, &str)> {
    let [first, second] = groups?;
    match new_side? {
        0 => Some((second, first)),
        _ => Some((first, second)),
    }
}

/// How much of the traffic the new one of two target groups has, in percent; none while it is not known which that is.
pub(super) async fn share_of(pair: Option<Pair>, acting: &Acting<'_>) -> Result<Option<u8>, Error> {
    let Some(pair) = pair else { return Ok(None) };
    Ok(Some(acting.here.traffic.balancers.percent(&pair).await?))
}

/// Asks for the new one of two target groups to get its share, as long as that is wanted.
pub(super) async fn give_to(
    pair: Option<Pair>,
    acting: &Acting<'_>,
    percent: u8,
) -> Result<(), Error> {
    let Some(pair) = pair else { return Ok(()) };
    Ok(acting.here.traffic.balancers.split_while(&pair, percent, acting).await?)
}

/// That what is stored of a carrier of this kind cannot be read.
pub(crate) fn unknown(kind: &str, error: &serde_json::Error) -> Error {
    Error::UnknownCarrier { kind: kind.to_owned(), why: error.to_string() }
}

/// That what is to be stored of a carrier cannot be.
pub(super) fn unwritable(error: &serde_json::Error) -> ApiError {
    ErrorName::InvalidRevision
        .because(format!("What carries the traffic cannot be stored: {error}."))
}
