//! The room for connections that some servers share. Where it is full, the one that has been silent for longest makes
//! place; where nobody is silent, the next one waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::connection::{Connection, Waits};

/// How long a client may be silent while it is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A connection that was silent for less than this is in use, and makes place for nobody.
const IN_USE: Duration = Duration::from_secs(1);
/// How often is looked whether somebody makes place.
const LOOK: Duration = Duration::from_millis(100);

/// Room for a number of connections.
#[derive(Debug)]
pub struct Room {
    max: usize,
    patience: Duration,
    there: Mutex<There>,
    left: Notify,
}

#[derive(Debug, Default)]
struct There {
    last: u64,
    connections: BTreeMap<u64, Arc<Connection>>,
}

/// A connection's place, which is free when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    number: u64,
    connection: Arc<Connection>,
}

impl Room {
    /// Room for `max` connections, from which those are sent away whose clients are silent for [`PATIENCE`]. To be called
    /// within a runtime.
    pub fn new(max: usize) -> Arc<Self> {
        Self::with_patience(max, PATIENCE)
    }

    /// The same for clients that may be silent for that long.
    pub(crate) fn with_patience(max: usize, patience: Duration) -> Arc<Self> {
        let room = Arc::new(Self { max, patience, there: Mutex::default(), left: Notify::new() });
        drop(tokio::spawn(watch(Arc::downgrade(&room), patience / 12)));
        room
    }

    /// A place, as soon as there is one.
    pub(super) async fn enter(room: &Arc<Self>) -> Place {
        loop {
            let left = room.left.notified();
            {
                let mut there = room.there();
                if there.connections.len() < room.max {
                    return there.take(room);
                }
                there.make_place();
            }
            drop(tokio::time::timeout(LOOK, left).await);
        }
    }

    /// Closes the connections whose clients have been silent for too long.
    fn look(&self) {
        for connection in self.there().connections.values() {
            if connection.waits() != Waits::Not && connection.silent_for() >= self.patience {
                connection.close();
            }
        }
    }

    fn there(&self) -> MutexGuard<'_, There> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl There {
    fn take(&mut self, room: &Arc<Room>) -> Place {
        self.last += 1;
        let connection = Arc::new(Connection::new());
        self.connections.insert(self.last, Arc::clone(&connection));
        Place { room: Arc::clone(room), number: self.last, connection }
    }

    /// Closes the connection that has been silent for longest: one without a request, if there is any.
    fn make_place(&self) {
        let silent = self.connections.values().filter_map(|connection| {
            let (waits, time) = (connection.waits(), connection.silent_for());
            (waits != Waits::Not && time >= IN_USE).then_some((waits, time, connection))
        });
        let rank = |(waits, time, _): &(Waits, Duration, &Arc<Connection>)| {
            (*waits, std::cmp::Reverse(*time))
        };
        if let Some((_, _, connection)) = silent.min_by_key(rank) {
            connection.close();
        }
    }
}

impl Place {
    pub(super) fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.connection)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.there().connections.remove(&self.number);
        self.room.left.notify_waiters();
    }
}

async fn watch(room: Weak<Room>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        match room.upgrade() {
            Some(room) => room.look(),
            None => return,
        }
    }
}
