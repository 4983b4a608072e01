//! Where the progress of a deployment is shown: live on a terminal, or as plain lines.

use console::Style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::poll::Snapshot;
use super::text::{self, Mark, Row};
use crate::output;

/// Where progress is shown.
pub(crate) enum Display {
    /// As lines that are data.
    Lines,
    /// As lines that are not, because the data is JSON.
    Notes,
    /// Live.
    Live(Box<Live>),
}

impl Display {
    /// What suits the format and where the output goes: live if people see all of it.
    pub(crate) fn choose(format: output::Format) -> Self {
        let live = console::Term::stderr().is_term();
        match format {
            output::Format::Text if live && console::Term::stdout().is_term() => {
                Self::Live(Box::default())
            }
            output::Format::Json if live => Self::Live(Box::default()),
            output::Format::Text => Self::Lines,
            output::Format::Json => Self::Notes,
        }
    }

    /// Shows how it stands.
    pub(crate) fn show(&mut self, before: Option<&Snapshot>, now: &Snapshot) {
        match self {
            Self::Lines | Self::Notes => {
                for line in text::changes(before, now, output::now()) {
                    self.say(&line);
                }
            }
            Self::Live(live) => live.show(now),
        }
    }

    /// Leaves what is shown as it is, and begins anew below it.
    pub(crate) fn finish(&mut self) {
        match self {
            Self::Lines | Self::Notes => {}
            Self::Live(live) => **live = Live::default(),
        }
    }

    /// Says something that is no progress.
    pub(crate) fn say(&self, line: &str) {
        match self {
            Self::Lines => output::line(line),
            Self::Notes => output::note(line),
            Self::Live(live) => live.area.suspend(|| output::note(line)),
        }
    }
}

/// A bar for the deployment, and a line for each host.
pub(crate) struct Live {
    area: MultiProgress,
    bar: Option<ProgressBar>,
    rows: Vec<ProgressBar>,
    ticks: usize,
}

impl Default for Live {
    fn default() -> Self {
        let area = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(20));
        Self { area, bar: None, rows: Vec::new(), ticks: 0 }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Without this the last state would be wiped from the screen.
        for bar in self.rows.iter().chain(&self.bar) {
            bar.abandon();
        }
    }
}

impl Live {
    fn show(&mut self, now: &Snapshot) {
        self.ticks = self.ticks.wrapping_add(1);
        let counts = now.counts();
        let bar = self
            .bar
            .get_or_insert_with(|| self.area.add(ProgressBar::new(0).with_style(bar_style())));
        bar.set_length(counts.total);
        bar.set_position(counts.done);
        bar.set_prefix(text::headline(now));
        bar.set_message(outcome(now));
        let rows = text::all_rows(now, output::now());
        let width =
            rows.iter().map(|row| console::measure_text_width(&row.host)).max().unwrap_or_default();
        while self.rows.len() > rows.len() {
            if let Some(surplus) = self.rows.pop() {
                self.area.remove(&surplus);
            }
        }
        while self.rows.len() < rows.len() {
            self.rows.push(self.area.add(ProgressBar::new_spinner().with_style(row_style())));
        }
        for (line, row) in self.rows.iter().zip(&rows) {
            line.set_message(render(row, width, self.ticks));
        }
    }
}

fn bar_style() -> ProgressStyle {
    // The templates are constants; if one were wrong, the default style would do.
    ProgressStyle::with_template("{prefix}  {bar:24.green/dim} {pos}/{len} hosts  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━╌")
}

fn row_style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// How the deployment stands, in the colour of it.
fn outcome(now: &Snapshot) -> String {
    use wire::codedeploy::DeploymentStatus as Status;
    if !now.has_ended() {
        return now.info.status.map_or("", Status::name).to_owned();
    }
    let good = now.info.status == Some(Status::Succeeded);
    let style = style(if good { Mark::Good } else { Mark::Bad });
    style.apply_to(text::outcome(now)).to_string()
}

fn style(mark: Mark) -> Style {
    let style = Style::new().for_stderr();
    match mark {
        Mark::Waiting => style.dim(),
        Mark::Working => style.cyan(),
        Mark::Good => style.green(),
        Mark::Bad => style.red().bold(),
    }
}

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

fn render(row: &Row, width: usize, ticks: usize) -> String {
    let sign = match row.mark {
        Mark::Waiting => "·",
        Mark::Working => SPINNER.get(ticks % SPINNER.len()).copied().unwrap_or("·"),
        Mark::Good => "✔",
        Mark::Bad => "✘",
    };
    let style = style(row.mark);
    if row.host.is_empty() {
        return format!("  {}", style.apply_to(&row.what));
    }
    let host = console::pad_str(&row.host, width, console::Alignment::Left, None);
    let what = console::pad_str(&row.what, 28, console::Alignment::Left, None);
    format!(
        "  {} {host}  {} {}",
        style.apply_to(sign),
        style.apply_to(what),
        Style::new().for_stderr().dim().apply_to(&row.time)
    )
}
