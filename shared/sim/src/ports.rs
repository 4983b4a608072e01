//! The ports of `control`, plugged into the simulated world. Each request lets others go first, and may be the last.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use control::ports::{
    Clock, CloudError, Dispatcher, Entropy, Messages, RequestMessage, Unheard, Upkeep, UploadAgain,
    Waker,
};
use control::table::{Index, Key, Page, Query, Record, Table, TableError, Write};
use engine::deployment::{Fact, Performer, Request};
use engine::{DeploymentId, Timestamp};
use wire::host::Offer;

use crate::core::{EPOCH_MS, Event, Shared};
use crate::dispatch_checks::Place;
use crate::{checks, versions};

/// All ports.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) shared: Arc<Shared>,
    /// How far this server's clock is ahead, in milliseconds.
    pub(crate) skew_ms: u64,
    /// Its number.
    pub(crate) server: usize,
}

impl Ports {
    /// Whether this server is of the version before.
    fn is_old(&self) -> bool {
        let core = self.shared.core();
        let ms = core.now - EPOCH_MS;
        core.versions
            .as_ref()
            .is_some_and(|versions| versions.is_old(self.server, core.is_driver, ms))
    }

    /// A record as this server sees it.
    fn seen(&self, record: Record) -> Record {
        if self.is_old() { versions::seen(record) } else { record }
    }
}

#[async_trait]
impl Clock for Ports {
    fn now(&self) -> Timestamp {
        self.shared.core().time().plus_ms(self.skew_ms)
    }

    async fn sleep(&self, ms: u64) {
        {
            let mut core = self.shared.core();
            if core.script.is_some() {
                core.now += ms;
                return;
            }
        }
        self.shared.pause_for(ms).await;
    }
}

impl Entropy for Ports {
    fn fill(&self, bytes: &mut [u8]) {
        let mut core = self.shared.core();
        for chunk in bytes.chunks_mut(8) {
            let random = core.random.next().to_le_bytes();
            for (byte, random) in chunk.iter_mut().zip(random) {
                *byte = random;
            }
        }
    }
}

#[async_trait]
impl Table for Ports {
    async fn get(&self, key: &Key) -> Result<Option<Record>, TableError> {
        self.shared.pause().await;
        self.shared.core().is_read(key);
        let found = self.shared.table.get(key).await?;
        self.shared.count(|units| units.got([(key, found.as_ref())].into_iter()));
        Ok(found.map(|record| self.seen(record)))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Record>, TableError> {
        self.shared.pause().await;
        for key in keys {
            self.shared.core().is_read(key);
        }
        let found = self.shared.table.get_many(keys).await?;
        self.shared.count(|units| {
            let of = |key: &Key| found.iter().find(|record| record.key == *key);
            units.got(keys.iter().map(|key| (key, of(key))));
        });
        Ok(found.into_iter().map(|record| self.seen(record)).collect())
    }

    async fn query(&self, query: &Query) -> Result<Page<Record>, TableError> {
        self.shared.pause().await;
        let Page { items, next } = self.shared.table.query(query).await?;
        self.shared.count(|units| units.queried(&query.partition, &items));
        Ok(Page { items: items.into_iter().map(|record| self.seen(record)).collect(), next })
    }

    async fn query_index(&self, index: Index, query: &Query) -> Result<Page<Key>, TableError> {
        self.shared.pause().await;
        let page = self.shared.table.query_index(index, query).await?;
        self.shared.count(|units| units.queried_index(index, &query.partition, page.items.len()));
        Ok(page)
    }

    async fn write(&self, writes: &[Write]) -> Result<(), TableError> {
        self.shared.pause().await;
        let known = self.is_old().then(|| versions::written(writes));
        let writes = known.as_deref().unwrap_or(writes);
        let shortened = checks::shorten(&self.shared, writes);
        let writes = shortened.as_deref().unwrap_or(writes);
        let before = self.shared.table.transactions();
        let were = self.were(writes);
        let outcome = self.shared.table.write(writes).await;
        self.shared.count(|units| match &outcome {
            Err(TableError::Conflict(_)) => units.conflicted(&were),
            Ok(()) | Err(_) => units.wrote(&were),
        });
        if self.shared.table.transactions() > before {
            checks::written(&self.shared, writes);
            self.shared.core().stream(writes);
        }
        self.shared.pause().await;
        outcome
    }
}

impl Ports {
    /// The writes, each with what is there before, where that is counted.
    fn were(&self, writes: &[Write]) -> Vec<(Write, Option<Record>)> {
        let counted = writes.iter().filter(|_| self.shared.counts());
        counted.map(|write| (write.clone(), self.shared.table.peek(write.key()))).collect()
    }
}

#[async_trait]
impl Waker for Ports {
    fn wake(&self, deployment: &DeploymentId, facts: Vec<Fact>) {
        let mut core = self.shared.core();
        if core.streams.are_there() {
            return;
        }
        let faults = core.faults;
        let event =
            |facts: &Vec<Fact>| Event::Woken { id: deployment.clone(), facts: facts.clone() };
        if core.random.of_ten_thousand(faults.wake_twice) {
            let ms = core.random.between(0, 100_000);
            core.push(ms, event(&facts));
        }
        if core.random.of_ten_thousand(faults.wake_lost) {
            core.tell("waker", || format!("for {deployment} is lost"));
        } else {
            let late = core.random.of_ten_thousand(faults.wake_late);
            let ms =
                if late { core.random.between(100, 120_000) } else { core.random.between(0, 3) };
            core.push(ms, event(&facts));
        }
    }

    async fn wake_at(&self, deployment: &DeploymentId, at: Timestamp) {
        let mut core = self.shared.core();
        let lost = core.faults.timer_lost;
        if core.random.of_ten_thousand(lost) {
            core.tell("timer", || format!("for {deployment} is lost"));
            return;
        }
        let ms = at.since_ms(core.time()) + core.random.between(0, 5);
        core.push(ms, Event::Timer { id: deployment.clone(), at });
    }
}

#[async_trait]
impl Messages for Ports {
    async fn hand_over(&self, to: Performer, message: &RequestMessage) -> Result<bool, CloudError> {
        let RequestMessage { deployment_id: id, request } = message;
        if to == Performer::DeploymentStepper {
            return Ok(false);
        }
        self.shared.core().note_dispatch(id, request);
        if !self.shared.core().has_queues {
            return Ok(false);
        }
        self.shared.pause().await;
        let mut core = self.shared.core();
        if let Request::Dispatch { batch, .. } = request {
            core.refuses(Place::Queue, "hand_over", (id, *batch))?;
        }
        let faults = core.faults;
        let message = || Event::Request(message.clone());
        if core.random.of_ten_thousand(faults.message_twice) {
            let ms = core.random.between(0, 100_000);
            core.push(ms, message());
        }
        if core.random.of_ten_thousand(faults.message_lost) {
            core.tell("message", || format!("of {id} is lost: {request:?}"));
            return Ok(true);
        }
        let late = core.random.of_ten_thousand(faults.message_late);
        let ms = if late { core.random.between(100, 120_000) } else { core.random.between(0, 50) };
        core.push(ms, message());
        Ok(true)
    }

    fn accepts_at_once(&self) -> bool {
        let core = self.shared.core();
        !core.has_queues && !core.is_cloud
    }

    async fn keep_up(&self, upkeep: &Upkeep, delay_s: u32) -> Result<(), CloudError> {
        let mut core = self.shared.core();
        let faults = core.faults;
        let delay_ms = u64::from(delay_s) * 1_000;
        if core.random.of_ten_thousand(faults.message_twice) {
            let ms = core.random.between(0, 100_000);
            core.push(ms, Event::Upkeep(upkeep.clone()));
        }
        if !core.random.of_ten_thousand(faults.message_lost) {
            let late = core.random.of_ten_thousand(faults.message_late);
            let ms = core.random.between(0, if late { 120_000 } else { 50 });
            core.push(delay_ms + ms, Event::Upkeep(upkeep.clone()));
        }
        Ok(())
    }

    async fn handle_again(&self, upload: &UploadAgain) -> Result<(), CloudError> {
        self.shared.core().push(0, Event::Announce(upload.again.clone()));
        Ok(())
    }
}

#[async_trait]
impl Dispatcher for Ports {
    async fn dispatch(&self, offers: &[(String, Offer)]) {
        for (host, offer) in offers {
            // One pause for many: a push takes up to fifty hosts.
            if offer.ordinal % 50 == 0 || offers.len() == 1 {
                self.shared.pause().await;
            }
            let mut core = self.shared.core();
            let faults = core.faults;
            let event = || Event::Offer { host: host.clone(), offer: offer.clone() };
            if core.random.of_ten_thousand(faults.offer_late) {
                let ms = core.random.between(1_000, 200_000);
                core.push(ms, event());
            }
            if !core.random.of_ten_thousand(faults.offer_lost) {
                let ms = core.random.between(0, 3);
                core.push(ms, event());
            }
        }
    }

    fn ticket(&self, name: &str) -> u64 {
        let mut core = self.shared.core();
        let now = core.now;
        core.heard.entry(name.to_owned()).or_default().0 = now;
        core.offers.get(name).and_then(|stream| stream.last()).map_or(0, |(number, _)| *number)
    }

    fn unheard(&self, name: &str) -> Option<Unheard> {
        let core = self.shared.core();
        if let Some(script) = &core.script {
            return script.unheard;
        }
        let ms = match core.heard.get(name) {
            Some((_, 1..)) => 0,
            Some((last, 0)) => core.now.saturating_sub(*last),
            None => core.now.saturating_sub(EPOCH_MS),
        };
        Some(Unheard { ms, was_heard: core.heard.contains_key(name) })
    }

    async fn wait(&self, name: &str, ticket: u64, wait_ms: u64) -> Vec<Offer> {
        let until = {
            let mut core = self.shared.core();
            let task = core.current;
            core.push(wait_ms, Event::Resume(task));
            core.waiters.entry(name.to_owned()).or_default().push(task);
            core.heard.entry(name.to_owned()).or_default().1 += 1;
            core.now + wait_ms
        };
        Waiting { shared: Arc::clone(&self.shared), name: name.to_owned(), ticket, until }.await
    }
}

/// Waits for offers to one host.
#[derive(Debug)]
struct Waiting {
    shared: Arc<Shared>,
    name: String,
    ticket: u64,
    until: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut core = self.shared.core();
        let now = core.now;
        let (last, held) = core.heard.entry(self.name.clone()).or_default();
        (*last, *held) = (now, held.saturating_sub(1));
    }
}

impl Future for Waiting {
    type Output = Vec<Offer>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Vec<Offer>> {
        let core = self.shared.core();
        let stream = core.offers.get(&self.name).map(Vec::as_slice).unwrap_or_default();
        let new = stream.iter().filter(|(number, _)| *number > self.ticket);
        let offers: Vec<Offer> = new.map(|(_, offer)| offer.clone()).collect();
        if offers.is_empty() && core.now < self.until { Poll::Pending } else { Poll::Ready(offers) }
    }
}
