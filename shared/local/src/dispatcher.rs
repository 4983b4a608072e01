//! Home's way to its hosts: a mailbox for each, which a held poll of the host is woken by.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use control::ports::{Dispatcher, Unheard};
use tokio::sync::{Notify, watch};
use wire::host::Offer;

/// Most offers that are kept for a host. One that misses more of them finds them in the table.
const KEPT: usize = 64;

/// The mailboxes of all hosts.
pub(crate) struct Mailboxes {
    boxes: Mutex<BTreeMap<String, Mailbox>>,
    /// Since when hosts can be heard of.
    since: Instant,
    polled: watch::Sender<()>,
}

#[derive(Default)]
struct Mailbox {
    number: u64,
    offers: VecDeque<(u64, Offer)>,
    arrival: Arc<Notify>,
    /// When its host asked last, or hung up.
    heard_at: Option<Instant>,
    /// How many questions of its host wait for an answer.
    held: u32,
}

impl Mailboxes {
    /// No mailboxes yet; each comes with its host's first poll or offer.
    pub(crate) fn new() -> Self {
        Self { boxes: Mutex::default(), since: Instant::now(), polled: watch::Sender::new(()) }
    }

    /// Waits until each of `names` has polled since this home started.
    pub(crate) async fn all_polled(&self, names: &[String]) {
        let mut polled = self.polled.subscribe();
        while !self.missing(names).is_empty() {
            // The sender lives in `self`.
            drop(polled.changed().await);
        }
    }

    /// Which of `names` have not polled since this home started.
    pub(crate) fn missing(&self, names: &[String]) -> Vec<String> {
        let boxes = self.lock();
        let has_polled = |name: &String| boxes.get(name).is_some_and(|m| m.heard_at.is_some());
        names.iter().filter(|name| !has_polled(name)).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Mailbox>> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since(&self, name: &str, ticket: u64) -> Vec<Offer> {
        let boxes = self.lock();
        let offers = boxes.get(name).into_iter().flat_map(|mailbox| &mailbox.offers);
        offers.filter(|(number, _)| *number > ticket).map(|(_, offer)| offer.clone()).collect()
    }
}

#[async_trait]
impl Dispatcher for Mailboxes {
    async fn dispatch(&self, offers: &[(String, Offer)]) {
        let mut boxes = self.lock();
        for (name, offer) in offers {
            let mailbox = boxes.entry(name.clone()).or_default();
            mailbox.number += 1;
            mailbox.offers.push_back((mailbox.number, offer.clone()));
            if mailbox.offers.len() > KEPT {
                mailbox.offers.pop_front();
            }
            mailbox.arrival.notify_waiters();
        }
    }

    fn ticket(&self, name: &str) -> u64 {
        let mut boxes = self.lock();
        let mailbox = boxes.entry(name.to_owned()).or_default();
        if mailbox.heard_at.replace(Instant::now()).is_none() {
            self.polled.send_replace(());
        }
        mailbox.number
    }

    fn unheard(&self, name: &str) -> Option<Unheard> {
        let boxes = self.lock();
        let mailbox = boxes.get(name);
        let is_held = mailbox.is_some_and(|mailbox| mailbox.held > 0);
        let heard_at = mailbox.and_then(|mailbox| mailbox.heard_at);
        let silence = heard_at.unwrap_or(self.since).elapsed();
        let ms = if is_held { 0 } else { u64::try_from(silence.as_millis()).unwrap_or(u64::MAX) };
        Some(Unheard { ms, was_heard: heard_at.is_some() })
    }

    async fn wait(&self, name: &str, ticket: u64, wait_ms: u64) -> Vec<Offer> {
        let _held = Held::new(self, name);
        let arrival = Arc::clone(&self.lock().entry(name.to_owned()).or_default().arrival);
        let mut arrived = std::pin::pin!(arrival.notified());
        // From here on an arrival is noticed, also one before the wait below.
        arrived.as_mut().enable();
        let offers = self.since(name, ticket);
        if !offers.is_empty() {
            return offers;
        }
        drop(tokio::time::timeout(Duration::from_millis(wait_ms), arrived).await);
        self.since(name, ticket)
    }
}

/// A question of a host that waits for its answer, or until the host hangs up.
struct Held<'a> {
    boxes: &'a Mailboxes,
    name: &'a str,
}

impl<'a> Held<'a> {
    fn new(boxes: &'a Mailboxes, name: &'a str) -> Self {
        boxes.lock().entry(name.to_owned()).or_default().held += 1;
        Self { boxes, name }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(mailbox) = self.boxes.lock().get_mut(self.name) {
            mailbox.held = mailbox.held.saturating_sub(1);
            mailbox.heard_at = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(ordinal: u32) -> (String, Offer) {
        let deployment_id = "d-AAAAAAAAA".parse().unwrap();
        ("host-1".to_owned(), Offer { deployment_id, ordinal, attempt: 1 })
    }

    #[tokio::test]
    async fn an_offer_between_the_ticket_and_the_wait_is_not_missed() {
        let boxes = Mailboxes::new();
        boxes.dispatch(&[offer(1)]).await;
        let ticket = boxes.ticket("host-1");
        boxes.dispatch(&[offer(2)]).await;
        assert_eq!(boxes.wait("host-1", ticket, 60_000).await, [offer(2).1]);
        assert!(boxes.wait("host-1", boxes.ticket("host-1"), 0).await.is_empty());
    }

    #[tokio::test]
    async fn a_held_poll_is_woken_by_an_offer() {
        let boxes = Arc::new(Mailboxes::new());
        let ticket = boxes.ticket("host-1");
        let held = Arc::clone(&boxes);
        let poll = tokio::spawn(async move { held.wait("host-1", ticket, 60_000).await });
        tokio::task::yield_now().await;
        boxes.dispatch(&[offer(7)]).await;
        assert_eq!(poll.await.unwrap(), [offer(7).1]);
    }

    #[tokio::test]
    async fn a_host_is_heard_of_while_its_poll_is_held_and_counts_as_silent_from_when_it_hangs_up()
    {
        let boxes = Arc::new(Mailboxes::new());
        assert!(!boxes.unheard("host-1").unwrap().was_heard);
        let ticket = boxes.ticket("host-1");
        let held = Arc::clone(&boxes);
        let poll = tokio::spawn(async move { held.wait("host-1", ticket, 60_000).await });
        while boxes.lock()["host-1"].held == 0 {
            tokio::task::yield_now().await;
        }
        boxes.lock().get_mut("host-1").unwrap().heard_at = Instant::now().checked_sub(TEN_S);
        assert_eq!(boxes.unheard("host-1"), Some(Unheard { ms: 0, was_heard: true }));
        poll.abort();
        assert!(poll.await.unwrap_err().is_cancelled());
        assert!(boxes.unheard("host-1").unwrap().ms < 10_000, "silent since it hung up");
        boxes.lock().get_mut("host-1").unwrap().heard_at = Instant::now().checked_sub(TEN_S);
        assert!(boxes.unheard("host-1").unwrap().ms >= 10_000);
    }

    const TEN_S: Duration = Duration::from_secs(10);
}
