//! The name that was probably meant.

/// The one of the known names that differs by case, by separators or by a few letters.
pub(super) fn nearest(name: &str, known: &[&str]) -> Option<String> {
    // A name far longer than any known one is not compared: the file decides how long it is.
    let plain = plain(name);
    if plain.len() > 64 {
        return None;
    }
    let (distance, best) =
        known.iter().map(|known| (distance(&plain, &self::plain(known)), *known)).min()?;
    let close = distance * 3 <= best.chars().count();
    close.then(|| best.to_owned())
}

fn plain(name: &str) -> Vec<char> {
    name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// How many letters must be added, removed or replaced to get from one to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.iter().enumerate() {
        let mut next = vec![index + 1];
        for ((other, above), corner) in to.iter().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or(0);
            next.push((left + 1).min(above + 1).min(corner + usize::from(letter != other)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
