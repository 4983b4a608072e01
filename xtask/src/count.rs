//! How many tests have run.

/// The number before `word` in a line such as `test result: ok. 12 passed; 0 failed; …`.
pub(crate) fn count_of(line: &str, word: &str) -> u64 {
    let Some(result) = line.trim().strip_prefix("test result:") else { return 0 };
    let part = result.split([';', '.']).map(str::trim).find_map(|part| part.strip_suffix(word));
    part.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::count_of;

    #[test]
    fn the_counts_of_cargo_test_are_read() {
        let line = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 1 filtered out; finished in 0.05s";
        assert_eq!(count_of(line, "passed"), 12);
        assert_eq!(count_of(line, "ignored"), 3);
        assert_eq!(count_of("test a_name_that_says_7 passed ... ok", "passed"), 0);
    }
}
