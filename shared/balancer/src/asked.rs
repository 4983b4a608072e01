//! What the ports ask of a home's balancers, with names that have no scheme any more. Every change is on disk before it
//! acts, so what is read back survives a crash.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use control::ports::{BalancerError, Standing};
use engine::DeploymentId;

use super::proxy::Running;
use super::saved::Saved;
use super::set::Balancers;

/// The most hosts of one target group, which bounds what a caller can make the home keep.
const HOSTS_MAX: usize = 1_000;

/// A target group that is there.
struct Found {
    running: Arc<Running>,
    place: usize,
}

impl Balancers {
    pub(super) fn check(&self, group: &str) -> Result<(), BalancerError> {
        self.find(group).map(drop)
    }

    pub(super) async fn admit(
        &self,
        group: &str,
        host: &str,
        version: &DeploymentId,
    ) -> Result<(), BalancerError> {
        let mut saved = self.0.saved.lock().await;
        let found = self.find(group)?;
        let Some(address) = self.address_of(&found.running, host) else {
            let message = format!("`{host}` is no host of this home: deploy to hosts of this home");
            return Err(BalancerError::Refused { name: named(group), message });
        };
        let mut wanted = saved.clone();
        if let Some(group) = wanted.group(group) {
            group.admit(host, version);
        }
        if wanted.group(group).is_some_and(|group| group.hosts.len() > HOSTS_MAX) {
            let message = format!("it has {HOSTS_MAX} hosts, and takes no more");
            return Err(BalancerError::Refused { name: named(group), message });
        }
        self.write(group, &mut saved, wanted).await?;
        self.take_in(&found.running, found.place, host, address, version);
        Ok(())
    }

    pub(super) async fn drain(&self, group: &str, hosts: &[String]) -> Result<(), BalancerError> {
        let mut saved = self.0.saved.lock().await;
        let found = self.find(group)?;
        let mut wanted = saved.clone();
        if let Some(group) = wanted.group(group) {
            group.drain(hosts);
        }
        self.write(group, &mut saved, wanted).await?;
        let deadline = Instant::now() + found.running.settings.drain_timeout();
        found.running.pool().drain(found.place, hosts, deadline);
        Ok(())
    }

    pub(super) fn standing(
        &self,
        group: &str,
        hosts: &[String],
    ) -> Result<BTreeMap<String, Standing>, BalancerError> {
        let found = self.find(group)?;
        let (pool, now) = (found.running.pool(), Instant::now());
        let standing = |host: &String| (host.clone(), pool.standing(found.place, host, now));
        Ok(hosts.iter().map(standing).collect())
    }

    pub(super) async fn split(
        &self,
        old: &str,
        new: &str,
        percent: u8,
    ) -> Result<(), BalancerError> {
        let mut saved = self.0.saved.lock().await;
        let (running, place) = self.pair(old, new)?;
        if percent > 100 {
            let message = format!("{percent} % of the traffic cannot be given: at most 100 %");
            return Err(BalancerError::Refused { name: named(new), message });
        }
        let mut wanted = saved.clone();
        let balancers = wanted.balancers.iter_mut();
        for balancer in balancers.filter(|b| b.settings.name == running.settings.name) {
            balancer.new = Some(new.to_owned());
            for group in &mut balancer.groups {
                group.percent = if group.name == new { percent } else { 100 - percent };
            }
        }
        self.write(new, &mut saved, wanted).await?;
        running.pool().split(place, percent);
        Ok(())
    }

    pub(super) fn percent(&self, old: &str, new: &str) -> Result<u8, BalancerError> {
        let (running, place) = self.pair(old, new)?;
        let percent = running.pool().percent(place);
        Ok(percent.unwrap_or(0))
    }

    /// The balancer of a pair, and the place of the new group.
    fn pair(&self, old: &str, new: &str) -> Result<(Arc<Running>, usize), BalancerError> {
        let (old_group, new_group) = (self.find(old)?, self.find(new)?);
        let is_pair = Arc::ptr_eq(&old_group.running, &new_group.running)
            && old_group.place != new_group.place;
        if is_pair {
            return Ok((new_group.running, new_group.place));
        }
        let message = format!(
            "`{}` and `{}` do not share the traffic of one balancer: name the two target groups of one",
            named(old),
            named(new)
        );
        Err(BalancerError::Refused { name: named(new), message })
    }

    /// Makes a change last. Only what lasts may act.
    async fn write(
        &self,
        group: &str,
        saved: &mut Saved,
        wanted: Saved,
    ) -> Result<(), BalancerError> {
        if *saved != wanted {
            let written = wanted.write(&self.0.dir).await;
            written.map_err(|error| BalancerError::Unavailable {
                name: named(group),
                source: Box::new(error),
            })?;
            *saved = wanted;
        }
        Ok(())
    }

    fn find(&self, group: &str) -> Result<Found, BalancerError> {
        let all = self.0.running.read().unwrap_or_else(PoisonError::into_inner);
        let mut places = all.values().filter_map(|server| {
            let place = server.running.settings.groups().iter().position(|name| name == group)?;
            Some(Found { running: Arc::clone(&server.running), place })
        });
        if let Some(found) = places.next() {
            return Ok(found);
        }
        let names: Vec<String> = all
            .values()
            .flat_map(|server| server.running.settings.groups())
            .map(|name| format!("`home:{name}`"))
            .collect();
        let hint = match names.as_slice() {
            [] => "this home has none yet; add one with `cutover balancer add`".to_owned(),
            names => format!("add one that has such a target group, or use {}", names.join(", ")),
        };
        Err(BalancerError::Unknown { name: named(group), hint })
    }
}

fn named(group: &str) -> String {
    format!("home:{group}")
}
