//! The gate: what a host must know of its deployment, in a value of some 200 bytes that is stored beside the row. Each
//! claim, permit and report of a host asks it, and none has to read a row that grows with the fleet.
//!
//! Whether the deployment waits for one host is not in it: that is said by the host's own item.

use serde::{Deserialize, Serialize};

use super::carrier::Stage;
use super::state::Deployment;
use crate::Timestamp;

/// What the deployment has to say to all of its hosts alike. It is stored when it changes: what a later version adds is missing
/// in those that are there, until they change next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The fencing number of the deployment in its group.
    generation: u64,
    /// How long a host may go on without hearing from the server, in milliseconds.
    lease_ms: u64,
    /// When the time is over that the deployment may take, without the pause that lasts.
    limit_at: Timestamp,
    /// Since when it is paused: its time does not run meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    halted: Option<Halt>,
    /// Beside `halted`, because no host is let into traffic after an alarm, whatever else halts the deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alarm: Option<Fired>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage: Option<Stage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new_side: Option<u8>,
}

/// Why hosts begin nothing more, apart from the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Halt {
    Ended,
    Stopped,
    Alarm,
    Failed,
}

impl Halt {
    fn why(self) -> &'static str {
        match self {
            Self::Ended => "the deployment has ended",
            Self::Stopped => "the deployment was stopped",
            Self::Alarm => "the deployment was stopped by an alarm",
            Self::Failed => "the deployment has failed",
        }
    }
}

/// What stopped a deployment that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fired {
    /// An alarm that fires.
    Alarm,
    /// That its alarms cannot be read.
    Unreadable,
}

impl Gate {
    /// The fencing number of the deployment in its group.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How long a host may go on without hearing from the server, in milliseconds: half of the silence time-out.
    pub fn lease_ms(&self) -> u64 {
        self.lease_ms
    }

    /// What stopped the deployment, if what watches it did.
    pub fn alarm(&self) -> Option<Fired> {
        self.alarm
    }

    /// The stage of a shift; none where traffic does not move all together.
    pub fn stage(&self) -> Option<Stage> {
        self.stage
    }

    /// The new one of the two sides of a shift, 0 or 1, once it is known.
    pub fn new_side(&self) -> Option<u8> {
        self.new_side
    }

    /// Whether nothing of the deployment will change any more.
    pub fn has_ended(&self) -> bool {
        self.halted == Some(Halt::Ended)
    }

    /// The same once somebody has asked for a stop of which the deployment has not taken note.
    #[must_use]
    pub fn with_stop(self) -> Self {
        let halted = if self.has_ended() { Halt::Ended } else { Halt::Stopped };
        Self { halted: Some(halted), ..self }
    }

    /// Whether hosts that the deployment waits for may claim their command or start their next event. Withholding it is how
    /// stops and time-outs act.
    ///
    /// # Errors
    /// Why not, as a sentence for the host's log.
    pub fn may_proceed(&self, now: Timestamp) -> Result<(), &'static str> {
        let waits_ms = self.paused_since.map_or(0, |since| now.since_ms(since));
        match self.halted {
            Some(halt) => Err(halt.why()),
            None if now >= self.limit_at.plus_ms(waits_ms) => Err("the deployment ran out of time"),
            None => Ok(()),
        }
    }
}

impl Deployment {
    /// What its hosts must know of it.
    pub fn gate(&self) -> Gate {
        let (paused_since, paused_ms) = self.paused_before();
        let halts = [
            (self.ended.is_some(), Halt::Ended),
            (self.stop.is_some(), Halt::Stopped),
            (self.alarm().is_some(), Halt::Alarm),
            (self.shift_failed_at().is_some() || self.trouble.failed.is_some(), Halt::Failed),
        ];
        let fired = |names: &[String]| match names {
            [] => Fired::Unreadable,
            [..] => Fired::Alarm,
        };
        Gate {
            generation: self.order.generation,
            lease_ms: self.lease_ms(),
            limit_at: self.order.created_at.plus_ms(self.limit_ms().saturating_add(paused_ms)),
            paused_since,
            halted: halts.into_iter().find(|(holds, _)| *holds).map(|(_, halt)| halt),
            alarm: self.alarm().map(|alarm| fired(&alarm.names)),
            stage: self.stage(),
            new_side: self.new_side(),
        }
    }
}
