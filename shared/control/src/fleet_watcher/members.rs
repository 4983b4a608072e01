//! The hosts of a group: those that are registered, and those that EC2 knows.

use wire::codedeploy::GroupSettings;

use super::Member;
use crate::ports::{Instance, InstanceState, Instances};
use crate::rows::{self, OnPremises, Stored};
use crate::settings::{self, selects_on_premises};
use crate::table::Query;
use crate::{Base, Error};

/// The hosts of a group: the registered on-premises instances and the EC2 instances that it selects. With `only`,
/// those of them that are called so.
pub(crate) async fn members(
    base: &Base,
    known: &Instances,
    group: &GroupSettings,
    only: Option<&[String]>,
) -> Result<Vec<Member>, Error> {
    let wanted = settings::selection(group);
    let (mut members, instances) =
        futures::try_join!(on_premises_members(base, group, only), async {
            if wanted.is_empty() {
                return Ok(Vec::new());
            }
            match only {
                Some(only) => known.fleet.describe(only).await,
                None => known.fleet.select(&wanted).await,
            }
            .map_err(Error::from)
        })?;
    let running = |instance: &Instance| {
        matches!(instance.state, InstanceState::Pending | InstanceState::Running)
            && wanted.selects(instance)
    };
    let tag = known.fleet.tag();
    let instances = instances.into_iter().filter(running);
    members.extend(instances.map(|instance| Member::pushed(instance, &tag)));
    if let Some(only) = only {
        members.retain(|member| only.contains(&member.name));
    }
    Ok(members)
}

/// The registered on-premises instances that the group's tags select; with `only`, those of them that are called so.
async fn on_premises_members(
    base: &Base,
    group: &GroupSettings,
    only: Option<&[String]>,
) -> Result<Vec<Member>, Error> {
    if !settings::has_on_premises_filters(group) {
        return Ok(Vec::new());
    }
    let all: Vec<Stored<OnPremises>> = match only {
        Some(only) => {
            let keys: Vec<_> = only.iter().map(|name| OnPremises::key_of(name)).collect();
            rows::load_many(&*base.table, &keys).await?
        }
        None => rows::load_all(&*base.table, Query::prefix(OnPremises::ALL, "", 1000)).await?,
    };
    let selected = |host: &OnPremises| {
        host.deregistered_at.is_none() && selects_on_premises(group, &host.tags)
    };
    let selected = all.into_iter().map(|stored| stored.row).filter(selected);
    Ok(selected.map(Member::polling).collect())
}
