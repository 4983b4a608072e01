//! The picture of a deployment on a terminal: pure functions from a snapshot and the size of the terminal to lines.

use console::Style;
use engine::Timestamp;
use wire::codedeploy::{DeploymentStatus, InstanceTarget};

use super::mark::Mark;
use super::progress;
use super::snapshot::{Counts, Snapshot};
use super::text;

/// How many cells the bar has.
const BAR: usize = 24;
/// The narrowest terminal that is drawn for; what is narrower shows less of each line.
const NARROWEST: usize = 20;
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// How a picture is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// The width of the terminal.
    pub(crate) width: usize,
    /// Its height.
    pub(crate) height: usize,
    /// Whether it shows colours.
    pub(crate) colours: bool,
    /// When it is.
    pub(crate) now: Timestamp,
    /// How many pictures were drawn before: it turns what is under way.
    pub(crate) tick: usize,
}

impl View {
    fn style(self, mark: Mark) -> Style {
        let style = Style::new().force_styling(self.colours);
        match mark {
            Mark::Waiting => style.dim(),
            Mark::Working => style.cyan(),
            Mark::Good => style.green(),
            Mark::Bad => style.red().bold(),
        }
    }

    fn sign(self, mark: Mark) -> &'static str {
        match mark {
            Mark::Waiting => "·",
            Mark::Working => SPINNER.get(self.tick % SPINNER.len()).copied().unwrap_or("·"),
            Mark::Good => "✔",
            Mark::Bad => "✘",
        }
    }

    /// How wide a line may be: one that fills the last column is treated differently by every terminal.
    fn room(self) -> usize {
        self.width.max(NARROWEST) - 1
    }
}

/// The lines of the picture: no wider than the terminal, and fewer than it has, so that the cursor rests below them.
pub(crate) fn draw(snapshot: &Snapshot, view: View) -> Vec<String> {
    let mut lines = head(snapshot, view);
    lines.extend(bar(snapshot.counts(), view));
    let known = snapshot.progress.iter();
    let known = known.flat_map(|known| progress::lines(known, snapshot.of(), view.now));
    let said = text::messages(&snapshot.info).into_iter().map(|said| (Mark::Working, said));
    for (mark, text) in known.map(|line| (line.mark, line.whole())).chain(said) {
        let style = view.style(mark);
        let parts = wrapped(&text, view.room().saturating_sub(4));
        let indents = ["  "].into_iter().chain(std::iter::repeat("    "));
        lines.extend(
            indents.zip(parts).map(|(indent, part)| format!("{indent}{}", style.apply_to(part))),
        );
    }
    let most = view.height.max(4) - 1;
    lines.extend(hosts(&snapshot.targets, most.saturating_sub(lines.len()), view));
    lines.truncate(most);
    let cut = |line: &String| console::truncate_str(line, view.room(), "…").into_owned();
    lines.iter().map(cut).collect()
}

/// What it is, and how it stands.
fn head(snapshot: &Snapshot, view: View) -> Vec<String> {
    let what = text::headline(snapshot);
    let (state, mark) = match snapshot.info.status {
        Some(DeploymentStatus::Succeeded) => (text::outcome(snapshot), Mark::Good),
        Some(DeploymentStatus::Failed | DeploymentStatus::Stopped) => {
            (text::outcome(snapshot), Mark::Bad)
        }
        Some(
            status @ (DeploymentStatus::Created
            | DeploymentStatus::Queued
            | DeploymentStatus::InProgress
            | DeploymentStatus::Baking
            | DeploymentStatus::Ready),
        ) => (status.name().to_owned(), Mark::Working),
        None => return wrapped(&what, view.room()),
    };
    let is_short = width(&what) + 2 + width(&state) <= view.room();
    let state = view.style(mark).apply_to(state);
    if is_short {
        return vec![format!("{what}  {state}")];
    }
    let mut lines = wrapped(&what, view.room());
    lines.push(format!("  {state}"));
    lines
}

/// The bar in three colours, and the counts that it shows; none where there are no hosts.
fn bar(counts: Counts, view: View) -> Option<String> {
    let total = usize::try_from(counts.total()).ok().filter(|total| *total > 0)?;
    let text = text::counts(counts);
    let cells = BAR.min(view.room().saturating_sub(width(&text) + 2)).max(NARROWEST / 4);
    let of = |count: u64| {
        let count = usize::try_from(count).unwrap_or(total).min(total);
        // Whoever is there is seen, however many others there are.
        if count == 0 { 0 } else { (count * cells / total).max(1) }
    };
    let is_whole = counts.done() == counts.total();
    let bad = of(counts.failed).min(cells);
    let good = match counts.succeeded + counts.ready {
        0 => 0,
        _ if is_whole => cells - bad,
        good => of(good).min((cells - bad).saturating_sub(1)),
    };
    let left = cells - bad - good;
    let part = |mark, cell: &str, number: usize| {
        view.style(mark).apply_to(cell.repeat(number)).to_string()
    };
    Some(format!(
        "{}{}{}  {}",
        part(Mark::Good, "━", good),
        part(Mark::Bad, "×", bad),
        part(Mark::Waiting, "╌", left),
        text
    ))
}

/// A line for each host, as far as there is room: failures first of all, then those at work, in their own order.
fn hosts(targets: &[InstanceTarget], room: usize, view: View) -> Vec<String> {
    let mut shown: Vec<(usize, &InstanceTarget)> = targets.iter().enumerate().collect();
    let left_out = if shown.len() > room { shown.len() - room.saturating_sub(1) } else { 0 };
    if left_out > 0 {
        shown.sort_by_key(|(_, target)| match text::mark(target) {
            Mark::Bad => 0,
            Mark::Working => 1,
            Mark::Good | Mark::Waiting => 2,
        });
        shown.truncate(room.saturating_sub(1));
        shown.sort_by_key(|(place, _)| *place);
    }
    let columns: Vec<[String; 2]> =
        shown.iter().map(|(_, target)| [text::name(target), text::what(target)]).collect();
    let widest = |column: usize, most: usize| {
        let widths = columns.iter().filter_map(|row| row.get(column)).map(|cell| width(cell));
        widths.max().unwrap_or_default().min(most)
    };
    let whats = widest(1, view.room() / 2);
    // Beside it stand a sign, two gaps and a time.
    let names = widest(0, view.room().saturating_sub(whats + 16).max(NARROWEST / 4));
    let line = |((_, target), [name, what]): (&(usize, &InstanceTarget), &[String; 2])| {
        let style = view.style(text::mark(target));
        let time = text::time(target, view.now).unwrap_or_default();
        let line = format!(
            "  {} {}  {}  {}",
            style.apply_to(view.sign(text::mark(target))),
            fit(name, names),
            style.apply_to(fit(what, whats)),
            view.style(Mark::Waiting).apply_to(time)
        );
        line.trim_end().to_owned()
    };
    let mut lines: Vec<String> = shown.iter().zip(&columns).map(line).collect();
    if left_out > 0 {
        lines.push(format!("  … and {left_out} more"));
    }
    lines
}

/// A text in a column of so many cells.
fn fit(text: &str, width: usize) -> String {
    console::pad_str(text, width, console::Alignment::Left, Some("…")).into_owned()
}

fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

/// A text in lines of so many cells, broken between words. A word that is longer stays whole.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if !line.is_empty() && width(line) + 1 + width(word) > most {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}
