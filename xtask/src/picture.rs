//! `docs/demo.svg`: what a terminal of 90 columns shows of `cutover demo`, drawn anew. tmux is the terminal.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::place::Place;
use crate::run::Command;

const COLUMNS: u32 = 90;
/// How long the demo may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// In pixels: the distance of two lines, the width of a column, and the margin.
const LINE: usize = 18;
const COLUMN: f64 = 8.5;
const MARGIN: usize = 16;

/// How text is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ink {
    Plain,
    Dim,
    Red,
    Green,
    Cyan,
}

impl Ink {
    fn colour(self) -> &'static str {
        match self {
            Self::Plain => "#d8dee9",
            Self::Dim => "#8a93a3",
            Self::Red => "#e5737b",
            Self::Green => "#8fc97a",
            Self::Cyan => "#7fb8d4",
        }
    }

    /// The ink after a sequence of numbers that a terminal is given.
    fn after(self, numbers: &str) -> Self {
        numbers.split(';').fold(self, |ink, number| match number {
            "" | "0" => Self::Plain,
            // The end of a colour is no end of dimness.
            "39" if ink != Self::Dim => Self::Plain,
            "2" => Self::Dim,
            "31" => Self::Red,
            "32" => Self::Green,
            "36" => Self::Cyan,
            // Bold, and backgrounds, of which there are none.
            _ => ink,
        })
    }
}

/// Runs the demo and draws the picture.
pub(crate) fn draw() -> Result<()> {
    let place = Place::find()?;
    Command::cargo(&place).args(["build", "--package", "cutover"]).run()?;
    let shown = captured(&place)?;
    let picture = svg(&excerpt(&shown)?);
    std::fs::write(place.tree.join("docs/demo.svg"), picture)?;
    Ok(())
}

/// What the terminal shows at the end, with its colours.
fn captured(place: &Place) -> Result<String> {
    let tmux = |args: &[&str]| {
        let command =
            Command::new(place, "tmux").args(["-L", "cutover-picture", "-f", "/dev/null"]);
        command.args(args).unshown().output().context("tmux has to be installed")
    };
    let (program, columns) = (place.built("cutover")?, COLUMNS.to_string());
    let run = format!("'{}' demo --exit", program.display());
    tmux(&[
        "start-server",
        ";",
        "set-option",
        "-g",
        "remain-on-exit",
        "on",
        ";",
        "new-session",
        "-d",
        "-x",
        &columns,
        "-y",
        "200",
        &run,
    ])?;
    let began = Instant::now();
    let shown = loop {
        let is_over = tmux(&["list-panes", "-F", "#{pane_dead}"])?.trim() == "1";
        if is_over || began.elapsed() > PATIENCE {
            break tmux(&["capture-pane", "-e", "-p", "-S", "-"]);
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    tmux(&["kill-server"])?;
    shown
}

/// What is drawn of it: the second chapter, the third, and the end.
fn excerpt(shown: &str) -> Result<Vec<&str>> {
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    let at = |text: &str| {
        let at = lines.iter().position(|line| line.starts_with(text));
        at.with_context(|| format!("the demo does not say `{text}`"))
    };
    let (first, second, fourth) = (at("A first")?, at("A second")?, at("A fourth")?);
    let end = at("All went as it should")?;
    ensure!(first < second && second < fourth && fourth < end, "the demo tells another story");
    let parts = [lines.get(..first), lines.get(second..fourth), lines.get(end..=end)];
    let drawn = parts.into_iter().flatten().flatten().copied();
    Ok(std::iter::once("$ cutover demo").chain(drawn).collect())
}

/// The lines as a picture.
fn svg(lines: &[&str]) -> String {
    let width = f64::from(COLUMNS) * COLUMN + 2.0 * MARGIN as f64;
    let height = lines.len() * LINE + 2 * MARGIN - LINE / 3;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height}\" font-family=\"monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#16181d\"/>\n"
    );
    let mut ink = Ink::Plain;
    for (number, line) in lines.iter().enumerate() {
        let y = MARGIN + LINE * (number + 1) - LINE / 3;
        let spans = spans(line, &mut ink);
        let colour = Ink::Plain.colour();
        picture += &format!(
            "<text x=\"{MARGIN}\" y=\"{y}\" fill=\"{colour}\" xml:space=\"preserve\">{spans}</text>\n"
        );
    }
    picture + "</svg>\n"
}

/// A line with its colours. What is not said to end goes on in the next one.
fn spans(line: &str, ink: &mut Ink) -> String {
    let mut drawn = String::new();
    for (number, part) in line.split("\u{1b}[").enumerate() {
        let text = match part.split_once('m').filter(|_| number > 0) {
            Some((numbers, text)) => {
                *ink = ink.after(numbers);
                text
            }
            None => part,
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        match *ink {
            _ if text.is_empty() => {}
            Ink::Plain => drawn += &text,
            ink @ (Ink::Dim | Ink::Red | Ink::Green | Ink::Cyan) => {
                drawn += &format!("<tspan fill=\"{}\">{text}</tspan>", ink.colour());
            }
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_drawn_in_its_colours_and_what_does_not_end_goes_on() {
        let mut ink = Ink::Plain;
        let first = spans("a<b \u{1b}[1m\u{1b}[31mFailed", &mut ink);
        assert_eq!(first, "a&lt;b <tspan fill=\"#e5737b\">Failed</tspan>");
        let second = spans(" more\u{1b}[0;2m\u{1b}[39m\u{1b}[49m rest", &mut ink);
        let expected = "<tspan fill=\"#e5737b\"> more</tspan><tspan fill=\"#8a93a3\"> rest</tspan>";
        assert_eq!(second, expected);
    }

    #[test]
    fn of_a_story_that_is_another_one_nothing_is_drawn() {
        let story = "intro\nA first\n1\nA second\n2\nA third\n3\nA fourth\n4\nAll went as it should, in 7 s.\nnext";
        let drawn = excerpt(story).unwrap();
        assert_eq!(drawn[..3], ["$ cutover demo", "intro", "A second"]);
        assert_eq!(drawn.last(), Some(&"All went as it should, in 7 s."));
        assert_eq!(drawn.len(), 7);
        assert!(excerpt("intro\nA second\nA first\nA fourth\nAll went as it should").is_err());
    }
}
