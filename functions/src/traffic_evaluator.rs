//! Traffic and the alarms that watch it: what deployments want of them, alarms that change, and every minute the sweep of
//! all active deployments.

use control::TrafficEvaluator;
use control::performing::Performs as _;
use control::ports::RequestMessage;
use serde::Deserialize;

use crate::BatchAnswer;
use crate::queue::Woken;

/// Effects of deployments on traffic, or an event of the schedule or CloudWatch.
pub type Event = Woken<RequestMessage, Told>;

/// The schedule, or a change of an alarm.
#[derive(Debug, Deserialize)]
#[serde(tag = "detail-type", content = "detail")]
pub enum Told {
    /// A minute is over.
    #[serde(rename = "Scheduled Event")]
    Minute {},
    /// An alarm of CloudWatch changed its state.
    #[serde(rename = "CloudWatch Alarm State Change")]
    Alarm(AlarmChange),
}

/// A change of an alarm's state. The state itself is asked for: events come late and in any order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmChange {
    /// The alarm.
    pub alarm_name: String,
}

/// Moves traffic and reads alarms, and sweeps.
///
/// # Errors
/// When the active deployments cannot be found out.
pub async fn handle(role: &TrafficEvaluator, event: Event) -> Result<BatchAnswer, control::Error> {
    match event {
        Woken::Queue(messages) => {
            return Ok(messages.handle(async |message| role.take_request(&message).await).await);
        }
        Woken::Event(Told::Minute {}) => role.evaluate().await?,
        Woken::Event(Told::Alarm(AlarmChange { alarm_name })) => {
            role.alarm_changed(&alarm_name).await?;
        }
    }
    Ok(BatchAnswer::default())
}
