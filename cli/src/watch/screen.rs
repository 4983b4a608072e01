//! The lower part of a terminal, drawn over and over. The cursor rests below it and is never hidden, so that whatever ends
//! the program leaves a terminal that can be used.

use std::io::{self, Write};

/// A place on a terminal where a picture of some lines is drawn.
#[derive(Debug)]
pub(crate) struct Screen<W> {
    out: W,
    /// How wide each line is that was drawn.
    drawn: Vec<usize>,
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, drawn: Vec::new() }
    }

    /// Draws the lines in place of the last ones, in a terminal that is `width` wide now. None of them may be wider.
    pub(crate) fn draw(&mut self, lines: &[String], width: usize) -> io::Result<()> {
        let mut text = self.back_to_top(width);
        for line in lines {
            text.push_str(line);
            text.push_str("\x1b[K\r\n");
        }
        text.push_str("\x1b[J");
        self.drawn = lines.iter().map(|line| console::measure_text_width(line)).collect();
        self.write(&text)
    }

    /// Takes the picture away, so that something else can be written where it was.
    pub(crate) fn erase(&mut self, width: usize) -> io::Result<()> {
        let text = self.back_to_top(width) + "\x1b[J";
        self.drawn.clear();
        self.write(&text)
    }

    /// Leaves the picture where it is; the next one is drawn below it.
    pub(crate) fn leave(&mut self) {
        self.drawn.clear();
    }

    /// What leads back to the first line. A terminal that became narrower has broken lines that are too long for it now.
    /// Whatever was typed meanwhile stands in the line below the picture.
    fn back_to_top(&self, width: usize) -> String {
        let rows: usize = self.drawn.iter().map(|drawn| drawn.div_ceil(width.max(1)).max(1)).sum();
        if rows == 0 { "\r".to_owned() } else { format!("\r\x1b[{rows}A") }
    }

    /// In one go, so that no half of a picture is seen.
    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}
