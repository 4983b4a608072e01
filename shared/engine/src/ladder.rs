//! Ladders: how far a deployment goes before it waits and looks (`docs/semantics.md#ladders`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most rungs of a ladder.
pub const RUNGS_MAX: usize = 100;

/// Longest that a ladder may bake in all, in milliseconds: 2,880 minutes, as CodeDeploy allows for shifting traffic.
pub const BAKE_MS_MAX: u64 = 2_880 * 60_000;

/// The rungs of a ladder, from the lowest; the last one is everything. Written `1 host@1m,10%@5m,100%`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ladder(Vec<Rung>);

/// One rung: how much gets the new version, and how long that bakes before the next rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// How much, this and all lower rungs together.
    pub share: Share,
    /// How long it is watched, in milliseconds.
    pub bake_ms: u64,
}

/// How much of a fleet or of the traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many hosts.
    Hosts(u32),
    /// So many of a hundred, from 1 to 100.
    Percent(u8),
}

/// What is wrong with a ladder.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LadderError {
    /// A rung is no share with an optional time.
    #[error(
        "`{0}` is no rung: write a share and how long it bakes, as `10%@5m`, `1 host@30s` or `100%`"
    )]
    Rung(String),
    /// A rung is not above the one before it.
    #[error("`{0}` is not above `{1}` before it: each rung has to be higher")]
    NotRising(String, String),
    /// The last rung is not everything.
    #[error("the last rung is `{0}`: it has to be `100%`")]
    NotWhole(String),
    /// There are too many.
    #[error("{0} rungs are too many: at most {RUNGS_MAX}")]
    TooMany(usize),
    /// It takes too long.
    #[error("the rungs bake for more than 2880 minutes in all")]
    TooLong,
}

impl Ladder {
    /// A ladder of these rungs.
    ///
    /// # Errors
    /// Where they do not rise, do not end with everything, or are too many or too slow.
    pub fn new(rungs: Vec<Rung>) -> Result<Self, LadderError> {
        if rungs.len() > RUNGS_MAX {
            return Err(LadderError::TooMany(rungs.len()));
        }
        for (lower, higher) in rungs.iter().zip(rungs.iter().skip(1)) {
            let rises = match (lower.share, higher.share) {
                (Share::Hosts(lower), Share::Hosts(higher)) => lower < higher,
                (Share::Percent(lower), Share::Percent(higher)) => lower < higher,
                // Hosts come first, because a share of a fleet can be less than one host.
                (Share::Hosts(_), Share::Percent(_)) => true,
                (Share::Percent(_), Share::Hosts(_)) => false,
            };
            if !rises {
                let (higher, lower) = (higher.share.to_string(), lower.share.to_string());
                return Err(LadderError::NotRising(higher, lower));
            }
        }
        match rungs.last() {
            Some(Rung { share: Share::Percent(100), .. }) | None => {}
            Some(last) => return Err(LadderError::NotWhole(last.share.to_string())),
        }
        if rungs.iter().map(|rung| rung.bake_ms).fold(0, u64::saturating_add) > BAKE_MS_MAX {
            return Err(LadderError::TooLong);
        }
        Ok(Self(rungs))
    }

    /// The rungs, from the lowest.
    pub fn rungs(&self) -> &[Rung] {
        &self.0
    }

    /// Whether there is no rung: everything at once, as far as other rules go.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many rungs there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// The rung `number`, from 0.
    pub fn get(&self, number: u32) -> Option<Rung> {
        self.0.get(usize::try_from(number).ok()?).copied()
    }
}

impl Share {
    /// How many of `total` hosts this is: at least one, and never more than there are.
    pub fn of_hosts(self, total: u32) -> u32 {
        let hosts = match self {
            Self::Hosts(hosts) => hosts,
            Self::Percent(percent) => {
                let hosts = (u64::from(total) * u64::from(percent)).div_ceil(100);
                u32::try_from(hosts).unwrap_or(u32::MAX)
            }
        };
        hosts.max(1).min(total)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hosts(1) => f.write_str("1 host"),
            Self::Hosts(hosts) => write!(f, "{hosts} hosts"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.share)?;
        match self.bake_ms {
            0 => Ok(()),
            ms if ms.is_multiple_of(3_600_000) => write!(f, "@{}h", ms / 3_600_000),
            ms if ms.is_multiple_of(60_000) => write!(f, "@{}m", ms / 60_000),
            ms if ms.is_multiple_of(1_000) => write!(f, "@{}s", ms / 1_000),
            ms => write!(f, "@{ms}ms"),
        }
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, rung) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(",")?;
            }
            write!(f, "{rung}")?;
        }
        Ok(())
    }
}

impl FromStr for Rung {
    type Err = LadderError;

    fn from_str(text: &str) -> Result<Self, LadderError> {
        let wrong = || LadderError::Rung(text.trim().to_owned());
        let (share, bake) = match text.split_once('@') {
            Some((share, bake)) => (share.trim(), Some(bake.trim())),
            None => (text.trim(), None),
        };
        let share = if let Some(percent) = share.strip_suffix('%') {
            Share::Percent(percent.trim().parse().map_err(|_| wrong())?)
        } else {
            let hosts = share.strip_suffix("hosts").or_else(|| share.strip_suffix("host"));
            Share::Hosts(hosts.ok_or_else(wrong)?.trim().parse().map_err(|_| wrong())?)
        };
        if !matches!(share, Share::Hosts(1..) | Share::Percent(1..=100)) {
            return Err(wrong());
        }
        let bake_ms = bake.map_or(Some(0), milliseconds).ok_or_else(wrong)?;
        Ok(Self { share, bake_ms })
    }
}

/// The milliseconds that `500ms`, `30s`, `5m` or `2h` say.
pub fn milliseconds(text: &str) -> Option<u64> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let (number, unit) =
        units.into_iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    number.trim().parse::<u64>().ok()?.checked_mul(unit)
}

impl FromStr for Ladder {
    type Err = LadderError;

    fn from_str(text: &str) -> Result<Self, LadderError> {
        let rungs = text.split(',').take(RUNGS_MAX + 1).map(str::parse);
        Self::new(rungs.collect::<Result<_, _>>()?)
    }
}

impl TryFrom<String> for Ladder {
    type Error = LadderError;

    fn try_from(text: String) -> Result<Self, LadderError> {
        if text.is_empty() { Ok(Self::default()) } else { text.parse() }
    }
}

impl From<Ladder> for String {
    fn from(ladder: Ladder) -> Self {
        ladder.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ladder_is_read_as_people_write_it() {
        let ladder: Ladder = "1 host@1m, 10% @ 5m,25%@90s,100%".parse().unwrap();
        let shares: Vec<Share> = ladder.rungs().iter().map(|rung| rung.share).collect();
        let expected =
            [Share::Hosts(1), Share::Percent(10), Share::Percent(25), Share::Percent(100)];
        assert_eq!(shares, expected);
        assert_eq!(ladder.to_string(), "1 host@1m,10%@5m,25%@90s,100%");
    }

    #[test]
    fn what_is_no_ladder_is_refused_with_the_place() {
        let refused = |text: &str| text.parse::<Ladder>().unwrap_err().to_string();
        for (text, place) in [
            ("", "`` is no rung"),
            ("10%@5", "`10%@5` is no rung"),
            ("0%,100%", "`0%` is no rung"),
            ("101%", "`101%` is no rung"),
            ("0 hosts,100%", "`0 hosts` is no rung"),
            ("10%,5%,100%", "`5%` is not above `10%`"),
            ("10%,1 host,100%", "`1 host` is not above `10%`"),
            ("10%@5m", "the last rung is `10%`"),
            ("50%@2000m,100%@2000m", "more than 2880 minutes"),
        ] {
            assert!(refused(text).contains(place), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn a_share_is_at_least_one_host_and_at_most_all() {
        assert_eq!(Share::Percent(1).of_hosts(10), 1);
        assert_eq!(Share::Percent(25).of_hosts(10), 3);
        assert_eq!(Share::Hosts(5).of_hosts(3), 3);
        assert_eq!(Share::Percent(100).of_hosts(0), 0);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            if let Ok(ladder) = text.parse::<Ladder>() {
                prop_assert_eq!(ladder.to_string().parse::<Ladder>().unwrap(), ladder);
            }
        }
    }
}
