//! How much weight each server has to have so that two groups of servers share the traffic as wanted.

/// The highest weight that HAProxy knows.
const MAX: u32 = 256;

/// How far a share may be off, in parts of a thousand, for all servers of a group to have the same weight.
const TOLERANCE: u64 = 5;

/// The weights of the servers of the old and of the new group, in order, so that the new group has `percent` of their
/// sum: within half a percentage point where that can be done at all with weights from 0 to 256. As few different
/// weights as possible.
pub(super) fn share(old: usize, new: usize, percent: u8) -> (Vec<u32>, Vec<u32>) {
    let (old, new) = (old.min(100_000), new.min(100_000));
    let percent = u32::from(percent.min(100));
    match percent {
        0 => (vec![100; old], vec![0; new]),
        100 => (vec![0; old], vec![100; new]),
        _ => even(old, new, percent).unwrap_or_else(|| uneven(old, new, percent)),
    }
}

/// The share of the new group, in parts of a thousand.
fn per_mille(old: u64, new: u64) -> u64 {
    (new * 1_000).checked_div(old + new).unwrap_or(0)
}

/// One weight for the old servers and one for the new ones: the smallest that come near enough.
fn even(old: usize, new: usize, percent: u32) -> Option<(Vec<u32>, Vec<u32>)> {
    let (old_count, new_count) = (old as u64, new as u64);
    let wanted = u64::from(percent) * 10;
    let error = |weight: u32, other: u32| {
        per_mille(old_count * u64::from(weight), new_count * u64::from(other)).abs_diff(wanted)
    };
    let pairs = (1..=MAX).flat_map(|weight| (1..=MAX).map(move |other| (weight, other)));
    let (weight, other) = pairs.min_by_key(|(weight, other)| (error(*weight, *other), *weight))?;
    (error(weight, other) <= TOLERANCE).then(|| (vec![weight; old], vec![other; new]))
}

/// Weights that differ by one within a group, where the groups are of very different sizes.
fn uneven(old: usize, new: usize, percent: u32) -> (Vec<u32>, Vec<u32>) {
    let most = |count: usize, share: u32| count as u64 * u64::from(MAX) * 100 / u64::from(share);
    let total = most(new, percent).min(most(old, 100 - percent));
    let new_sum = (total * u64::from(percent) + 50) / 100;
    (spread(total.saturating_sub(new_sum), old), spread(new_sum, new))
}

/// Weights with that sum.
fn spread(sum: u64, count: usize) -> Vec<u32> {
    let count_long = (count as u64).max(1);
    let weight = |place: usize| {
        let more = u64::from((place as u64) < sum % count_long);
        u32::try_from(sum / count_long + more).unwrap_or(MAX).min(MAX)
    };
    (0..count).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_share_of_every_two_groups_is_within_a_percentage_point() {
        let sizes =
            [(1, 1), (1, 2), (3, 2), (2, 5), (10, 10), (7, 50), (1, 30), (200, 1), (1, 200)];
        for (old, new) in sizes {
            for percent in 0..=100_u8 {
                let (olds, news) = share(old, new, percent);
                assert_eq!((olds.len(), news.len()), (old, new));
                assert!(olds.iter().chain(&news).all(|weight| *weight <= MAX));
                let sum = |weights: &[u32]| weights.iter().map(|w| u64::from(*w)).sum::<u64>();
                let found = sum(&news) as f64 * 100.0 / (sum(&olds) + sum(&news)) as f64;
                let off = (found - f64::from(percent)).abs();
                assert!(off <= 1.0, "{old}:{new} at {percent} %: {found}");
            }
        }
    }

    #[test]
    fn no_traffic_is_a_weight_of_zero_and_equals_have_the_same_weight() {
        assert_eq!(share(2, 1, 0), (vec![100, 100], vec![0]));
        assert_eq!(share(2, 1, 100), (vec![0, 0], vec![100]));
        let (olds, news) = share(3, 3, 10);
        assert!(olds.windows(2).all(|pair| pair[0] == pair[1]) && news.iter().all(|w| *w > 0));
        assert_eq!(share(0, 0, 50), (vec![], vec![]));
    }
}
