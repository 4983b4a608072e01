//! How often a deployment's row is committed, where the table takes so many units a second from one item.
//!
//! A row of a large fleet is some kilobytes, and each of its hosts has something to tell. Whoever would commit too soon after
//! the last commit waits, and folds what was told meanwhile into one decision. Not put off are the end, and what changes the
//! gate, by which hosts are told whether they may go on: a stop, an alarm, traffic that cannot be moved.

use engine::Timestamp;

use super::gate::Told;
use crate::rows::{DeploymentRow, Stored};
use crate::{DeploymentStepper, Error};

/// What a unit writes, in bytes.
const UNIT: usize = 1_024;

/// When a commit was put off for so long, in milliseconds, it is put off no more, however many others came before it.
const LONGEST_MS: u64 = 1_000;

impl DeploymentStepper {
    /// Puts off the commit of a decision, which `row` has in it already, where it comes too soon after the last one, at
    /// `committed_at`. `told` is what hosts are told by what is stored, and `waited_ms` how long the step has waited.
    ///
    /// Returns whether it has waited: then the row may have changed, and the decision is to be made again.
    pub(super) async fn puts_off(
        &self,
        row: &Stored<DeploymentRow>,
        told: &Told,
        committed_at: Timestamp,
        waited_ms: &mut u64,
    ) -> Result<bool, Error> {
        let Some(units_a_second) = self.base.settings.row_units else { return Ok(false) };
        if *waited_ms >= LONGEST_MS || Self::told_by(&row.row) != *told {
            return Ok(false);
        }
        let every_ms = gap_ms(row.size()?, units_a_second);
        let now = self.base.now();
        let since_ms = now.since_ms(committed_at);
        // Of a commit that is yet to come by this clock nobody knows when it was.
        if since_ms >= every_ms || committed_at.since_ms(now) > LONGEST_MS {
            return Ok(false);
        }
        // Those who wait for the same moment do not all come at it.
        let ms = every_ms - since_ms + self.drawn_below(every_ms);
        self.base.clock.sleep(ms).await;
        *waited_ms += ms;
        Ok(true)
    }

    fn drawn_below(&self, ms: u64) -> u64 {
        let mut bytes = [0; 8];
        self.base.entropy.fill(&mut bytes);
        u64::from_le_bytes(bytes) % ms.max(1)
    }
}

/// How long after a commit of a row of so many bytes the next one may follow, in milliseconds.
fn gap_ms(bytes: usize, units_a_second: u32) -> u64 {
    let units = u64::try_from(bytes.div_ceil(UNIT)).unwrap_or(u64::MAX);
    units.saturating_mul(1_000) / u64::from(units_a_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_twice_as_large_is_committed_half_as_often() {
        assert_eq!(gap_ms(300, 250), 4);
        assert_eq!(gap_ms(13 * UNIT, 250), 52);
        assert_eq!(gap_ms(25 * UNIT + 1, 250), 104);
    }
}
