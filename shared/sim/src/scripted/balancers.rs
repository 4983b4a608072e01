//! The balancers that an installation has itself, as far as their settings go: the models have none of these.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use control::ports::{BalancerAdmin, BalancerError};
use wire::cutover::{AddBalancer, BalancerInfo, TargetGroupStatus};

/// Balancers by their names. They pass on nothing.
#[derive(Debug, Default)]
pub(super) struct OwnBalancers(Mutex<BTreeMap<String, BalancerInfo>>);

impl OwnBalancers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, BalancerInfo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(name: &str, message: &str) -> BalancerError {
    BalancerError::Refused { name: name.to_owned(), message: message.to_owned() }
}

#[async_trait]
impl BalancerAdmin for OwnBalancers {
    async fn add(&self, balancer: &AddBalancer) -> Result<BalancerInfo, BalancerError> {
        let name = balancer.name.clone().unwrap_or_default();
        let of_group = |group: &String| TargetGroupStatus {
            name: Some(format!("home:{group}")),
            ..TargetGroupStatus::default()
        };
        let groups = balancer.target_groups.as_ref();
        let info = BalancerInfo {
            name: Some(name.clone()),
            target_port: balancer.target_port,
            target_groups: groups.map(|groups| groups.iter().map(of_group).collect()),
            ..BalancerInfo::default()
        };
        let mut all = self.all();
        let known = all.entry(name.clone()).or_insert_with(|| info.clone());
        if *known == info {
            Ok(info)
        } else {
            Err(refused(&name, "it has other settings: remove it first"))
        }
    }

    async fn list(&self) -> Vec<BalancerInfo> {
        self.all().values().cloned().collect()
    }

    async fn remove(&self, name: &str) -> Result<(), BalancerError> {
        let removed = self.all().remove(name);
        removed.map(drop).ok_or_else(|| refused(name, "there is no such balancer"))
    }

    fn read_by(&self, alarm: &str) -> Option<String> {
        Some(alarm.strip_prefix("home:")?.split_once(' ')?.0.to_owned())
    }
}
