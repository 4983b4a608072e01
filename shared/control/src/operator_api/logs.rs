//! The output of hooks, out of the pieces that reports brought.
//!
//! While somebody follows a deployment, output comes in pieces; at its end, each event leaves its tail. The tail takes
//! the place of the pieces, unless they were told already: then only what follows them is told.

use std::collections::BTreeMap;

use engine::deployment::Deployment;
use engine::lifecycle::Event;
use wire::codedeploy::ErrorName;
use wire::cutover::{GetDeploymentLog, GetDeploymentLogOutput, LogEntry};

use super::{refuse, text};
use crate::rows::{self, LogRow, LoggedEvent};
use crate::table::Query;
use crate::{Error, OperatorApi};

/// Most text of one answer, in bytes; a single report may exceed it.
const ANSWER_MAX: usize = 512 * 1024;

/// A tail shorter than this was not cut anywhere, so that it is the whole output of its event, in bytes.
const WHOLE_MAX: usize = 32 * 1024 - 4;

/// How many targets are named where one does not exist.
const NAMES_SHOWN: u32 = 5;

/// How much of what was told last is looked for in a tail that was cut, in bytes.
const OVERLAP: usize = 4096;

impl OperatorApi {
    /// `GetDeploymentLog`. With `follow`, the hosts are asked to send output as it comes.
    pub async fn get_deployment_log(
        &self,
        request: &GetDeploymentLog,
    ) -> Result<GetDeploymentLogOutput, Error> {
        let deployment = self.known_deployment(&request.deployment_id).await?.row.deployment;
        if request.follow == Some(true) && deployment.ended().is_none() {
            self.followed.note(deployment.id(), self.base.now());
        }
        let event: Option<Event> = match request.event.as_deref() {
            Some(name) => Some(event_of(&deployment, name)?),
            None => None,
        };
        let ordinal = match request.target_id.as_deref() {
            Some(name) => {
                let host = self.target(&deployment, name).await?;
                match host {
                    Some(host) => Some(host.ordinal),
                    None => return Err(self.no_target(&deployment, name).await?),
                }
            }
            None => None,
        };
        let mut told = Told::parse(text(&request.after))?;
        let (partition, prefix) = LogRow::all_of(deployment.id(), ordinal);
        let mut query = Query::prefix(partition, prefix, 100);
        let mut log = Log { event, ..Log::default() };
        let full = loop {
            let page = rows::load_page::<LogRow>(&*self.base.table, &query).await?;
            for stored in page.items {
                log.take(&stored.row, told.note(&stored.row));
                if log.is_full() {
                    break;
                }
            }
            match page.next {
                _ if log.is_full() => break true,
                Some(next) => query.after = Some(next),
                None => break false,
            }
        };
        let more = full || deployment.ended().is_none();
        Ok(GetDeploymentLogOutput {
            entries: Some(log.entries.into_iter().map(|(_, entry)| entry).collect()),
            next: more.then(|| told.to_string()),
        })
    }

    /// The refusal of a target that the deployment does not have: it names some of those that it has.
    async fn no_target(&self, deployment: &Deployment, name: &str) -> Result<Error, Error> {
        let some = self.base.hosts_at(deployment.id(), 0..NAMES_SHOWN).await?;
        let some: Vec<String> =
            some.into_iter().map(|host| format!("`{}`", host.row.name)).collect();
        let all = usize::try_from(deployment.hosts().len()).unwrap_or(usize::MAX);
        let there = match (some.is_empty(), all.saturating_sub(some.len())) {
            (true, _) => "It has none yet; ask again in a moment.".to_owned(),
            (false, 0) => format!("It has {}.", some.join(", ")),
            (false, more) => format!("It has {} and {more} more.", some.join(", ")),
        };
        let message =
            format!("The deployment `{}` has no target `{name}`. {there}", deployment.id());
        Ok(refuse(ErrorName::DeploymentTargetDoesNotExist, message))
    }
}

/// The event of a deployment that has a name.
fn event_of(deployment: &Deployment, name: &str) -> Result<Event, Error> {
    let events = deployment.events();
    events.iter().copied().find(|event| event.name() == name).ok_or_else(|| {
        let names: Vec<String> = events.iter().map(|event| format!("`{}`", event.name())).collect();
        let message = format!(
            "`{name}` is no lifecycle event of the deployment `{}`. It has {}.",
            deployment.id(),
            names.join(", ")
        );
        refuse(ErrorName::Validation, message)
    })
}

/// What was told already: the last report of each host, by ordinal.
#[derive(Debug, Default)]
struct Told(BTreeMap<u32, u64>);

impl Told {
    fn parse(text: &str) -> Result<Self, Error> {
        let pair = |pair: &str| {
            let (ordinal, sequence) = pair.split_once(':')?;
            Some((ordinal.parse().ok()?, sequence.parse().ok()?))
        };
        let pairs = text.split(',').filter(|pair| !pair.is_empty()).map(pair);
        pairs.collect::<Option<_>>().map(Self).ok_or_else(|| {
            let message = "`after` is no `next` of an earlier answer. Leave it out to begin anew.";
            refuse(ErrorName::InvalidNextToken, message)
        })
    }

    /// Whether the row was told already; it is now.
    fn note(&mut self, row: &LogRow) -> bool {
        let last = self.0.entry(row.ordinal).or_default();
        let told = row.sequence <= *last;
        *last = row.sequence.max(*last);
        told
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs: Vec<String> =
            self.0.iter().map(|(ordinal, sequence)| format!("{ordinal}:{sequence}")).collect();
        f.write_str(&pairs.join(","))
    }
}

type Source = (u32, Event);

/// The entries of an answer, and what is known of each event's output.
#[derive(Default)]
struct Log {
    event: Option<Event>,
    entries: Vec<(Source, LogEntry)>,
    size: usize,
    known: BTreeMap<Source, Known>,
}

/// What is known of the pieces of an event's output.
#[derive(Default)]
struct Known {
    end: u64,
    last: String,
    told: bool,
}

impl Log {
    fn is_full(&self) -> bool {
        self.size >= ANSWER_MAX
    }

    fn take(&mut self, row: &LogRow, told: bool) {
        for piece in &row.events {
            if self.event.is_some_and(|wanted| wanted != piece.event) {
                continue;
            }
            match piece.offset {
                Some(offset) => self.take_piece(row, piece, offset, told),
                None if told => {}
                None => self.take_tail(row, piece),
            }
        }
    }

    fn push(&mut self, row: &LogRow, event: Event, offset: Option<u64>, text: &str, cut: bool) {
        self.size += text.len();
        let entry = LogEntry {
            target_id: Some(row.name.clone()),
            lifecycle_event_name: Some(event.name().to_owned()),
            offset,
            time: Some(row.at.into()),
            text: Some(text.to_owned()),
            truncated: Some(cut),
        };
        self.entries.push(((row.ordinal, event), entry));
    }

    fn take_piece(&mut self, row: &LogRow, piece: &LoggedEvent, offset: u64, told: bool) {
        let known = self.known.entry((row.ordinal, piece.event)).or_default();
        let cut = offset > known.end;
        known.end = offset.saturating_add(u64::try_from(piece.text.len()).unwrap_or(u64::MAX));
        known.last.clone_from(&piece.text);
        known.told |= told;
        if !told {
            self.push(row, piece.event, Some(offset), &piece.text, cut);
        }
    }

    fn take_tail(&mut self, row: &LogRow, piece: &LoggedEvent) {
        let source = (row.ordinal, piece.event);
        let known = self.known.remove(&source).unwrap_or_default();
        let whole = piece.text.len() < WHOLE_MAX;
        if !known.told {
            self.entries.retain(|(other, _)| *other != source);
            self.push(row, piece.event, whole.then_some(0), &piece.text, !whole);
            return;
        }
        let told = if whole {
            usize::try_from(known.end).ok().map(|end| end.min(piece.text.len()))
        } else {
            end_of_overlap(&known.last, &piece.text)
        };
        match told.and_then(|told| piece.text.get(told..)) {
            Some("") => {}
            Some(rest) => self.push(row, piece.event, Some(known.end), rest, false),
            None => self.push(row, piece.event, None, &piece.text, true),
        }
    }
}

/// Where in a tail ends what was told last.
fn end_of_overlap(last: &str, tail: &str) -> Option<usize> {
    let from = last.len().saturating_sub(OVERLAP);
    let from = (from..last.len()).find(|at| last.is_char_boundary(*at))?;
    let last = last.get(from..)?;
    Some(tail.rfind(last)? + last.len())
}

#[cfg(test)]
mod tests {
    use engine::{DeploymentId, Timestamp};

    use super::*;

    fn row(sequence: u64, offset: Option<u64>, text: &str) -> LogRow {
        let piece = LoggedEvent { event: Event::AfterInstall, offset, text: text.to_owned() };
        LogRow {
            deployment_id: DeploymentId::from_random([1; 9]),
            ordinal: 0,
            name: "web".to_owned(),
            sequence,
            at: Timestamp(1),
            events: vec![piece],
        }
    }

    fn texts(rows: &[(LogRow, bool)]) -> Vec<String> {
        let mut log = Log::default();
        for (row, told) in rows {
            log.take(row, *told);
        }
        log.entries.into_iter().filter_map(|(_, entry)| entry.text).collect()
    }

    #[test]
    fn a_tail_takes_the_place_of_its_pieces_and_repeats_nothing_that_was_told() {
        let pieces = [(row(1, Some(0), "one\n"), false), (row(2, Some(4), "two\n"), false)];
        assert_eq!(texts(&pieces), ["one\n", "two\n"]);
        let tail = row(3, None, "one\ntwo\nthree\n");
        let [first, second] = pieces;
        assert_eq!(
            texts(&[first.clone(), second.clone(), (tail.clone(), false)]),
            ["one\ntwo\nthree\n"]
        );
        let told = [(first.0, true), (second.0, true), (tail, false)];
        assert_eq!(texts(&told), ["three\n"]);
    }

    #[test]
    fn of_a_tail_that_was_cut_only_what_follows_the_told_pieces_is_told() {
        let long = "x".repeat(40_000);
        let tail = format!("{long}\nlast line\n");
        let piece = row(1, Some(90_000), &format!("{}\n", "x".repeat(500)));
        assert_eq!(texts(&[(piece, true), (row(2, None, &tail), false)]), ["last line\n"]);
    }
}
