//! How the events of a command stand, as it is reported.

use engine::lifecycle::Event;
use wire::host::{EventReport, EventStatus};

use crate::clock::now_ms;
use crate::failure::Failure;

/// Events of which none has begun.
pub(crate) fn all_pending(events: &[Event]) -> Vec<EventReport> {
    events.iter().map(|event| pending(*event)).collect()
}

/// An event that has not begun.
pub(crate) fn pending(event: Event) -> EventReport {
    EventReport {
        event,
        status: EventStatus::Pending,
        started_at: None,
        ended_at: None,
        diagnostics: None,
    }
}

/// Lets the first event that has not ended fail, and skips the rest.
pub(crate) fn fail_first(reports: &mut [EventReport], message: &str) {
    if let Some(report) = reports.iter_mut().find(|report| is_open(report)) {
        report.status = EventStatus::Failed;
        report.ended_at = Some(now_ms());
        report.diagnostics = Some(Failure::other(message).diagnostics(String::new()));
    }
    skip_open(reports);
}

/// Skips what has not ended.
pub(crate) fn skip_open(reports: &mut [EventReport]) {
    for report in reports.iter_mut().filter(|report| is_open(report)) {
        report.status = EventStatus::Skipped;
    }
}

fn is_open(report: &EventReport) -> bool {
    match report.status {
        EventStatus::Pending | EventStatus::InProgress | EventStatus::Unknown => true,
        EventStatus::Succeeded | EventStatus::Failed | EventStatus::Skipped => false,
    }
}
