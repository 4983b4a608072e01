//! Sets of hosts, written in few letters: a batch of fifty scattered hosts takes about a hundred.

use serde::{Deserialize, Serialize};

/// A set of ordinals, kept as rising ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ordinals(Vec<(u32, u32)>);

/// A text that stands for no set of ordinals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no set of ordinals")]
pub struct OrdinalsError(String);

/// Digits of four bits; a letter of the upper half says that another one follows.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

impl Ordinals {
    /// The ordinals, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|(first, number)| *first..first.saturating_add(*number))
    }

    /// Whether `ordinal` is in the set.
    pub fn contains(&self, ordinal: u32) -> bool {
        self.0
            .iter()
            .any(|(first, number)| (*first..first.saturating_add(*number)).contains(&ordinal))
    }

    /// How many ordinals are in the set.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|(_, number)| number).sum()
    }

    /// Adds an ordinal.
    pub(super) fn insert(&mut self, ordinal: u32) {
        if self.contains(ordinal) {
            return;
        }
        let at = self.0.partition_point(|(first, _)| *first < ordinal);
        let touches = self.0.get(at).is_some_and(|(first, _)| *first == ordinal + 1);
        let after = touches.then(|| self.0.remove(at));
        let number = 1 + after.map_or(0, |(_, number)| number);
        let before = at.checked_sub(1).and_then(|at| self.0.get_mut(at));
        match before.filter(|(first, number)| *first + *number == ordinal) {
            Some((_, before)) => *before += number,
            None => self.0.insert(at, (ordinal, number)),
        }
    }

    /// The ordinals of both sets.
    pub(super) fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<u32> for Ordinals {
    /// Collects ordinals in any order.
    fn from_iter<I: IntoIterator<Item = u32>>(ordinals: I) -> Self {
        let mut ordinals: Vec<u32> = ordinals.into_iter().collect();
        ordinals.sort_unstable();
        ordinals.dedup();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for ordinal in ordinals {
            match ranges.last_mut() {
                Some((first, number)) if *first + *number == ordinal => *number += 1,
                _ => ranges.push((ordinal, 1)),
            }
        }
        Self(ranges)
    }
}

impl From<Ordinals> for String {
    fn from(ordinals: Ordinals) -> Self {
        let mut text = Self::new();
        let mut after = 0;
        for (first, number) in ordinals.0 {
            push_number(&mut text, first - after);
            push_number(&mut text, number);
            after = first + number;
        }
        text
    }
}

fn push_number(text: &mut String, mut number: u32) {
    loop {
        let low = usize::try_from(number % 16).unwrap_or(0);
        number /= 16;
        let digit = if number > 0 { low + 16 } else { low };
        text.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
        if number == 0 {
            return;
        }
    }
}

impl TryFrom<String> for Ordinals {
    type Error = OrdinalsError;

    fn try_from(text: String) -> Result<Self, OrdinalsError> {
        parse(&text).ok_or(OrdinalsError(text))
    }
}

fn parse(text: &str) -> Option<Ordinals> {
    let mut digits = text.bytes();
    let mut ranges = Vec::new();
    let mut after = 0_u32;
    while let Some(gap) = read_number(&mut digits)? {
        let number = read_number(&mut digits)??;
        let first = after.checked_add(gap)?;
        after = first.checked_add(number)?;
        ranges.push((first, number));
    }
    Some(Ordinals(ranges))
}

/// The next number; none within at the end of the text.
fn read_number(digits: &mut impl Iterator<Item = u8>) -> Option<Option<u32>> {
    let mut number = 0_u32;
    for place in 0..8 {
        let Some(letter) = digits.next() else {
            return (place == 0).then_some(None);
        };
        let digit = DIGITS.iter().position(|known| *known == letter)?;
        let low = u32::try_from(digit % 16).ok()?;
        number = number.checked_add(low.checked_shl(4 * place)?)?;
        if digit < 16 {
            return Some(Some(number));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_are_read_back_as_they_are_written(set in proptest::collection::btree_set(0_u32..100_000, 0..200)) {
            let ordinals: Ordinals = set.iter().copied().collect();
            let text = String::from(ordinals.clone());
            prop_assert_eq!(Ordinals::try_from(text).unwrap().iter().collect::<Vec<_>>(), set.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn ordinals_come_one_by_one_in_any_order(list in proptest::collection::vec(0_u32..60, 0..80)) {
            let mut set = Ordinals::default();
            for ordinal in &list {
                set.insert(*ordinal);
            }
            prop_assert_eq!(set, list.into_iter().collect::<Ordinals>());
        }

        #[test]
        fn no_text_is_too_strange(text in ".*") {
            let _result = Ordinals::try_from(text);
        }
    }
}
