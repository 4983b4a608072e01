//! Traffic that is made up, with a seed: each request goes to the canary or the baseline, and fails or not.

use engine::judge::{Judge, Look, Terms};

/// SplitMix64 (Steele, Lea and Flood 2014): the same numbers everywhere, from one seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Whether something of this probability happens.
    fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// A number from 0 to 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What is true while a request arrives: the canary's share of the traffic, and how likely a request fails there and at
/// the baseline.
#[derive(Clone, Copy)]
pub(crate) struct Truth {
    /// The canary's share of the traffic.
    pub(crate) share: f64,
    /// The probability that a request of the canary fails.
    pub(crate) canary: f64,
    /// The probability that a request of the baseline fails.
    pub(crate) baseline: f64,
}

impl Truth {
    /// Lets one more request arrive. Slow requests are independent of errors and as likely.
    fn arrive(&self, random: &mut Random, look: &mut Look) {
        let (side, rate) = if random.happens(self.share) {
            (&mut look.canary, self.canary)
        } else {
            (&mut look.baseline, self.baseline)
        };
        side.requests += 1;
        side.errors += u64::from(random.happens(rate));
        side.slow += u64::from(random.happens(rate));
    }
}

/// A story of traffic.
pub(crate) struct Scene<T> {
    /// Requests of both sides until it ends.
    pub(crate) requests: u64,
    /// How many requests come between two looks.
    pub(crate) every: u64,
    /// What is true when the request of this number arrives.
    pub(crate) truth: T,
}

impl Scene<fn(u64) -> Truth> {
    /// Both versions have the same rate while the canary takes over; the rate rises for both meanwhile.
    pub(crate) const RAMP: Self = Self { requests: 20_000, every: 1, truth: Truth::in_ramp };

    /// Both versions have the same rate, and are hit by the same outage in the middle.
    pub(crate) const OUTAGE: Self = Self { requests: 20_000, every: 1, truth: Truth::in_outage };
}

impl<T: Fn(u64) -> Truth> Scene<T> {
    /// Shows each look to `see`, until it has seen enough.
    pub(crate) fn play(&self, seed: u64, mut see: impl FnMut(&Look) -> bool) {
        // Seeds are scattered: SplitMix64 walks along one circle, and neighbours would overlap.
        let mut random = Random::new(seed.wrapping_mul(0xd134_2543_de82_ef95));
        let mut look = Look::default();
        for request in 0..self.requests {
            (self.truth)(request).arrive(&mut random, &mut look);
            if (request + 1).is_multiple_of(self.every) && !see(&look) {
                return;
            }
        }
    }

    /// Canary requests until `judge` is first called worse, if it is.
    pub(crate) fn worse_after(&self, terms: Terms, seed: u64) -> Option<u64> {
        self.after(terms, seed, Judge::is_worse)
    }

    /// Canary requests until the canary is first called no worse, if it is.
    pub(crate) fn no_worse_after(&self, terms: Terms, seed: u64) -> Option<u64> {
        self.after(terms, seed, Judge::is_no_worse)
    }

    fn after(&self, terms: Terms, seed: u64, said: fn(&Judge) -> bool) -> Option<u64> {
        let mut judge = Judge::new(terms);
        let mut after = None;
        self.play(seed, |look| {
            judge.fold(look);
            after = said(&judge).then_some(look.canary.requests);
            after.is_none()
        });
        after
    }
}

impl Truth {
    /// A canary that fails `times` as often as the baseline with this rate.
    pub(crate) fn new(share: f64, baseline: f64, times: f64) -> Self {
        Self { share, canary: baseline * times, baseline }
    }

    fn in_ramp(request: u64) -> Self {
        match request {
            0..7_000 => Self::new(0.01, 0.001, 1.0),
            7_000..14_000 => Self::new(0.1, 0.003, 1.0),
            _ => Self::new(0.5, 0.01, 1.0),
        }
    }

    fn in_outage(request: u64) -> Self {
        let rate = if (8_000..10_000).contains(&request) { 0.2 } else { 0.001 };
        Self::new(0.1, rate, 1.0)
    }
}
