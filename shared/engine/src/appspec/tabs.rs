//! Tabs on lines that hold nothing but white space or a comment. YAML 1.1 refuses most of them, and so does the official
//! agent; the parser lets them pass (`docs/semantics.md#appspec`).

use std::collections::{BTreeMap, BTreeSet};

/// What is known of the lines while a file is read; lines count from 1, columns from 0.
#[derive(Default)]
pub(super) struct Tabs {
    /// Lines inside brackets or inside a scalar of several lines, where tabs are nothing special.
    free: BTreeSet<usize>,
    /// The last line of each plain scalar outside brackets, with the column of the block that it stands in. The lines
    /// behind it are taken for its continuation until they turn out empty: there, tabs right of the block are let pass.
    plain: BTreeMap<usize, usize>,
}

impl Tabs {
    /// Notes lines behind `first` up to `last` as ones where tabs are nothing special.
    pub(super) fn free(&mut self, first: usize, last: usize) {
        self.free.extend(first + 1..=last);
    }

    /// Notes where a plain scalar ends.
    pub(super) fn plain(&mut self, last: usize, block: usize) {
        self.plain.insert(last, block);
    }

    /// The line and the column of the first tab that may not stand where it does.
    pub(super) fn first_refused(&self, lines: &[&str], end: usize) -> Option<(usize, usize)> {
        let mut block = None;
        for (index, line) in lines.iter().enumerate().take(end) {
            let number = index + 1;
            let bare = line.trim_matches([' ', '\t', '\r', '\n']);
            let is_empty = bare.is_empty() || bare.starts_with('#');
            let tab = line.chars().take_while(|c| matches!(c, ' ' | '\t')).position(|c| c == '\t');
            if let Some(column) = tab
                && is_empty
                && !self.free.contains(&number)
                && block.is_none_or(|block| column <= block)
            {
                return Some((number, column));
            }
            if !bare.is_empty() {
                // A comment ends the scalar, on its own line or behind it.
                block = self
                    .plain
                    .get(&number)
                    .copied()
                    .filter(|_| !bare.contains(" #") && !bare.contains("\t#"));
            }
        }
        None
    }
}
