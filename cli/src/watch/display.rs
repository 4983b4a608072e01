//! Where the progress of a deployment is shown: as a picture on a terminal, or as plain lines.

use std::io::Stderr;

use super::frame::{self, View};
use super::history::History;
use super::screen::Screen;
use super::snapshot::Snapshot;
use crate::output;

/// The size of a terminal that does not tell it.
const SIZE: (u16, u16) = (24, 80);

/// Where progress is shown.
pub(crate) enum Display {
    /// As lines that are data.
    Lines(Box<History>),
    /// As lines that are not, because the data is JSON.
    Notes(Box<History>),
    /// As a picture.
    Live(Box<Live>),
}

impl Display {
    /// What suits the format and where the output goes: a picture if people see all of it on a terminal that can draw it.
    pub(crate) fn choose(format: output::Format) -> Self {
        let can_draw = knows_terminal() && console::Term::stderr().is_term();
        match format {
            output::Format::Text if can_draw && console::Term::stdout().is_term() => {
                Self::Live(Box::default())
            }
            output::Format::Json if can_draw => Self::Live(Box::default()),
            output::Format::Text => Self::Lines(Box::default()),
            output::Format::Json => Self::Notes(Box::default()),
        }
    }

    /// Shows how it stands.
    pub(crate) fn show(&mut self, now: &Snapshot) {
        match self {
            Self::Lines(history) | Self::Notes(history) => history.take(now, output::now()),
            Self::Live(live) => live.last = Some(now.clone()),
        }
        self.refresh();
    }

    /// Shows what time alone has changed.
    pub(crate) fn refresh(&mut self) {
        match self {
            Self::Lines(history) => {
                history.due(output::now()).iter().for_each(|line| output::line(line));
            }
            Self::Notes(history) => {
                history.due(output::now()).iter().for_each(|line| output::note(line));
            }
            Self::Live(live) => live.draw(),
        }
    }

    /// Shows what is left to show, leaves it as it is, and begins anew below it.
    pub(crate) fn finish(&mut self) {
        match self {
            Self::Lines(history) => {
                std::mem::take(&mut **history).rest().iter().for_each(|line| output::line(line));
            }
            Self::Notes(history) => {
                std::mem::take(&mut **history).rest().iter().for_each(|line| output::note(line));
            }
            Self::Live(live) => live.finish(),
        }
    }

    /// Says something that is no progress.
    pub(crate) fn say(&mut self, line: &str) {
        match self {
            Self::Lines(_) => output::line(line),
            Self::Notes(_) => output::note(line),
            Self::Live(live) => {
                live.erase();
                output::note(line);
                live.draw();
            }
        }
    }
}

/// A picture of the deployment on stderr.
pub(crate) struct Live {
    screen: Screen<Stderr>,
    last: Option<Snapshot>,
    tick: usize,
}

impl Default for Live {
    fn default() -> Self {
        Self { screen: Screen::new(std::io::stderr()), last: None, tick: 0 }
    }
}

impl Live {
    fn draw(&mut self) {
        let Some(snapshot) = &self.last else { return };
        let (height, width) = size();
        let view = View {
            width,
            height,
            colours: console::colors_enabled_stderr(),
            now: output::now(),
            tick: self.tick,
        };
        self.tick = self.tick.wrapping_add(1);
        // A terminal that is gone has nobody before it.
        drop(self.screen.draw(&frame::draw(snapshot, view), width));
    }

    fn erase(&mut self) {
        drop(self.screen.erase(size().1));
    }

    fn finish(&mut self) {
        self.draw();
        self.screen.leave();
        self.last = None;
    }
}

/// Whether the kind of the terminal is one that a picture can be drawn on.
#[expect(clippy::disallowed_methods, reason = "it is asked for once, when the command starts")]
fn knows_terminal() -> bool {
    let term = std::env::var("TERM").unwrap_or_default();
    !matches!(term.as_str(), "" | "dumb")
}

/// The height and the width of the terminal.
fn size() -> (usize, usize) {
    let known = console::Term::stderr().size_checked();
    let (height, width) = known.filter(|(height, width)| *height > 0 && *width > 0).unwrap_or(SIZE);
    (height.into(), width.into())
}
