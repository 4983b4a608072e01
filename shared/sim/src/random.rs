//! The source of all chance in a simulation: SplitMix64, so that a seed gives the same run everywhere and for ever.

/// A stream of random numbers from a seed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Random {
    state: u64,
    /// Whether every number of a range is its lowest.
    is_still: bool,
}

impl Random {
    /// The stream of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: mixed(seed ^ 0x5851_f42d_4c95_7f2d), is_still: false }
    }

    /// No chance: what lies in a range is its lowest number. Bits are drawn all the same, so that no two ids are alike.
    pub(crate) fn still() -> Self {
        Self { is_still: true, ..Self::new(0) }
    }

    /// The next number, of all bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.state)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        if self.is_still {
            return low;
        }
        let span = high.saturating_sub(low).saturating_add(1);
        low + self.next() % span
    }

    /// Whether something happens that happens `often` times of ten thousand. Draws nothing where it cannot happen.
    pub(crate) fn of_ten_thousand(&mut self, often: u32) -> bool {
        often > 0 && self.next() % 10_000 < u64::from(often)
    }

    /// One of `items`.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(items.len()).ok().filter(|count| *count > 0)?;
        items.get(usize::try_from(self.next() % count).ok()?)
    }
}

fn mixed(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
