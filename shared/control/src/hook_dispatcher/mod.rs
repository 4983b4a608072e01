//! Brings hosts their commands: those that poll are offered them, to others they are pushed, and a batch is sent until its
//! command was accepted.

mod delivery;
pub(crate) mod down;
mod here;
mod offers;
mod push;

use std::sync::Arc;

use async_trait::async_trait;
use engine::deployment::{Fact, Ordinals, Request};
use wire::host::Offer;

pub(crate) use delivery::refusal_of;

use here::Here;

use crate::performing::Performs;
use crate::ports::{Dispatcher, Fleet, Place, Placed, Push};
use crate::rows::{DeploymentRow, HostRow, Stored, Transport};
use crate::{Base, Error};

/// Brings hosts their commands: what `hook_dispatcher` is.
#[derive(Clone)]
pub struct HookDispatcher {
    /// What every role works on.
    pub base: Base,
    /// Reaches hosts that poll.
    pub dispatcher: Arc<dyn Dispatcher>,
    /// Reaches instances, by where they are.
    pub ports: Placed<Ports>,
}

/// What the dispatcher has to do with in one account and region.
#[derive(Clone)]
pub struct Ports {
    /// Pushes commands to instances.
    pub push: Arc<dyn Push>,
    /// Which tags instances have.
    pub fleet: Arc<dyn Fleet>,
}

#[async_trait]
impl Performs for HookDispatcher {
    fn base(&self) -> &Base {
        &self.base
    }

    async fn perform(
        &self,
        deployment: &Stored<DeploymentRow>,
        request: &Request,
    ) -> Result<Vec<Fact>, Error> {
        let Request::Dispatch { batch, attempt, hosts } = request else {
            return Err(Error::misdirected(request));
        };
        self.dispatch(&deployment.row, *batch, *attempt, hosts).await
    }
}

impl HookDispatcher {
    /// The dispatcher in one account and region; none is the installation's own.
    async fn at(&self, place: Option<&Place>) -> Result<Here, Error> {
        let Ports { push, fleet } = self.ports.at(place).await?;
        Ok(Here { base: self.base.clone(), place: place.cloned(), push, fleet })
    }

    async fn dispatch(
        &self,
        row: &DeploymentRow,
        batch: u32,
        attempt: u8,
        hosts: &Ordinals,
    ) -> Result<Vec<Fact>, Error> {
        let deployment = &row.deployment;
        let id = deployment.id();
        let places = self.base.shards(id).await?;
        let keys: Vec<_> = hosts.iter().map(|ordinal| places.key_of(ordinal)).collect();
        // Before anybody is told: whoever asks because of that finds it.
        let rows = self.offer(row, attempt, &keys).await?;
        let (pushed, polling): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|host| host.row.transport == Transport::Push);
        let offer = |row: &HostRow| {
            let offer = Offer { deployment_id: id.clone(), ordinal: row.ordinal, attempt };
            (row.name.clone(), offer)
        };
        let offers: Vec<_> = polling.iter().map(|stored| offer(&stored.row)).collect();
        self.dispatcher.dispatch(&offers).await;
        let mut told = self.find_down(deployment, polling).await;
        let here = self.at(row.place.as_ref()).await?;
        told.extend(here.deliver(deployment, batch, pushed).await?);
        Ok(told)
    }
}
