//! The rate at which a service takes requests.

/// So many requests a second, and no more of them at once.
#[derive(Debug)]
pub(crate) struct Quota {
    per_second: u64,
    /// What may still be asked for at `at`, in thousandths of a request.
    left: u64,
    /// When that was reckoned, in milliseconds.
    at: u64,
    /// How many requests were too many.
    pub(crate) refused: u64,
}

impl Quota {
    /// Nothing of it is used.
    pub(crate) fn of(per_second: u32) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, left: per_second * 1_000, at: 0, refused: 0 }
    }

    /// Whether a request is taken at `now`, in milliseconds.
    pub(crate) fn takes(&mut self, now: u64) -> bool {
        let new = now.saturating_sub(self.at).saturating_mul(self.per_second);
        self.left = self.left.saturating_add(new).min(self.per_second * 1_000);
        self.at = now;
        let left = self.left.checked_sub(1_000);
        match left {
            Some(left) => self.left = left,
            None => self.refused += 1,
        }
        left.is_some()
    }
}
