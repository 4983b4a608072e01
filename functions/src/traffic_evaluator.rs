//! The sweep: every minute, and when an alarm changes, all active deployments are looked at.

use control::Control;
use serde::{Deserialize, Serialize};

/// The schedule, or a change of an alarm.
#[derive(Debug, Deserialize)]
#[serde(tag = "detail-type", content = "detail")]
pub enum Event {
    /// A minute is over.
    #[serde(rename = "Scheduled Event")]
    Minute {},
    /// An alarm of CloudWatch changed its state.
    #[serde(rename = "CloudWatch Alarm State Change")]
    Alarm(AlarmChange),
}

/// A change of an alarm's state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmChange {
    /// The alarm.
    pub alarm_name: String,
    /// Its state now.
    pub state: AlarmState,
}

/// An alarm's state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AlarmState {
    /// Which.
    pub value: AlarmValue,
}

/// What state an alarm can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlarmValue {
    /// All is well.
    Ok,
    /// It is not.
    Alarm,
    /// There is too little to say.
    InsufficientData,
}

/// What a sweep found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// How many deployments are active.
    pub deployments: usize,
}

/// Sweeps. What a changed alarm means for a deployment is decided when alarms come into the engine.
///
/// # Errors
/// When the active deployments cannot be found out.
pub async fn handle(control: &Control, event: Event) -> Result<Swept, control::Error> {
    match event {
        Event::Minute {} | Event::Alarm(_) => Ok(Swept { deployments: control.sweep().await? }),
    }
}
