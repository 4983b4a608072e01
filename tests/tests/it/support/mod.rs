//! What the whole-system tests share: a running home, a client of it, and bundles.

pub(crate) mod archive;
pub(crate) mod client;
pub(crate) mod cloud;
#[cfg(feature = "tools")]
pub(crate) mod daemon;
pub(crate) mod gate;
pub(crate) mod home;
#[cfg(feature = "tools")]
pub(crate) mod load;
pub(crate) mod modules;
#[cfg(feature = "tools")]
pub(crate) mod moto;
pub(crate) mod process;
pub(crate) mod template;
pub(crate) mod tokens;
#[cfg(feature = "tools")]
pub(crate) mod tools;

use std::net::TcpListener;
use std::time::{Duration, Instant};

/// How long a test waits for something that will come; generous, for a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `look` finds something; `what` says what was waited for.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
