//! What a plain YAML 1.1 scalar means, as Ruby's Psych reads it: the official agent is built on it, and bundles in use
//! rely on its octal numbers and its `yes` (`docs/semantics.md#appspec`).

/// What a scalar was read as.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// Nothing: empty, `~` or `null`.
    Null,
    /// `yes`, `true`, `on` and their opposites.
    Bool(bool),
    /// An integer of any notation; those beyond the range are held at its end.
    Int(i128),
    /// A number with a point.
    Float(f64),
    /// `:name`, which Ruby keeps apart from text.
    Symbol,
    /// A date or a time of day, which the official agent refuses anywhere in the file.
    Timestamp,
    /// Anything else, and everything in quotes.
    Text,
}

/// Reads a plain scalar.
pub(super) fn resolve(text: &str) -> Kind {
    if text.contains('\n') {
        return Kind::Text;
    }
    match text.to_ascii_lowercase().as_str() {
        "" | "~" | "null" => return Kind::Null,
        "yes" | "true" | "on" => return Kind::Bool(true),
        "no" | "false" | "off" => return Kind::Bool(false),
        ".inf" | "+.inf" => return Kind::Float(f64::INFINITY),
        "-.inf" => return Kind::Float(f64::NEG_INFINITY),
        ".nan" => return Kind::Float(f64::NAN),
        _ => {}
    }
    if text.len() > 1 && text.starts_with(':') {
        return Kind::Symbol;
    }
    if is_date(text) || is_time(text) {
        return Kind::Timestamp;
    }
    sexagesimal(text)
        .or_else(|| float(text).map(Kind::Float))
        .or_else(|| integer(text).map(Kind::Int))
        .unwrap_or(Kind::Text)
}

/// The integer at the start of a text, 0 if there is none; digits may be grouped with `_`.
pub(super) fn leading_integer(text: &str) -> i128 {
    let text = text.trim_start();
    let (negative, unsigned) = sign(text);
    let mut digits = String::new();
    let mut characters = unsigned.chars().peekable();
    while let Some(character) = characters.next() {
        let groups = character == '_'
            && !digits.is_empty()
            && characters.peek().is_some_and(char::is_ascii_digit);
        if character.is_ascii_digit() {
            digits.push(character);
        } else if !groups {
            break;
        }
    }
    if digits.is_empty() { 0 } else { in_radix(negative, &digits, 10).unwrap_or(0) }
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn integer(text: &str) -> Option<i128> {
    let (negative, unsigned) = sign(text);
    let (digits, radix) = if let Some(digits) = unsigned.strip_prefix("0b") {
        (digits, 2)
    } else if let Some(digits) = unsigned.strip_prefix("0x") {
        (digits, 16)
    } else if unsigned == "0" {
        (unsigned, 10)
    } else if let Some(digits) = unsigned.strip_prefix('0') {
        (digits, 8)
    } else {
        let grouped_well = !unsigned.ends_with([',', '_'])
            && !["__", ",,", "_,", ",_"].iter().any(|it| unsigned.contains(it));
        (
            if grouped_well && unsigned.starts_with(|c: char| c.is_ascii_digit()) {
                unsigned
            } else {
                ""
            },
            10,
        )
    };
    in_radix(negative, digits, radix)
}

/// The value of digits that may be grouped with `_` and `,`.
fn in_radix(negative: bool, digits: &str, radix: u32) -> Option<i128> {
    let digits: String = digits.chars().filter(|c| !matches!(c, '_' | ',')).collect();
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let size = i128::from_str_radix(&digits, radix).unwrap_or(i128::MAX);
    Some(if negative { -size } else { size })
}

/// Only a number with a point is a float: `1e3` is text.
fn float(text: &str) -> Option<f64> {
    let (_, unsigned) = sign(text);
    let (whole, rest) = unsigned.split_once('.')?;
    let whole_is_right = whole.is_empty()
        || (whole.starts_with(|c: char| c.is_ascii_digit())
            && whole.chars().all(|c| c.is_ascii_digit() || matches!(c, '_' | ',')));
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let exponent_is_right = exponent.is_none_or(|exponent| {
        exponent
            .strip_prefix(['+', '-'])
            .is_some_and(|digits| !digits.is_empty() && all_digits(digits))
    });
    if !whole_is_right || !all_digits(fraction) || !exponent_is_right {
        return None;
    }
    text.replace(['_', ','], "").parse().ok()
}

/// `1:30`, a number of base 60. Psych counts from hours: `1:30` is 5400, not 90.
fn sexagesimal(text: &str) -> Option<Kind> {
    let (negative, unsigned) = sign(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let parts: Vec<&str> = whole.split(':').collect();
    let [first, rest @ ..] = parts.as_slice() else { return None };
    let first_is_right = first.starts_with(|c: char| c.is_ascii_digit())
        && first.chars().all(|c| c.is_ascii_digit() || c == '_');
    let rest_is_right = matches!(rest.len(), 1 | 2)
        && rest.iter().all(|part| {
            all_digits(part)
                && (part.len() == 1 || (part.len() == 2 && !part.starts_with(['6', '7', '8', '9'])))
        });
    if !first_is_right
        || !rest_is_right
        || !fraction.is_none_or(|it| it.chars().all(|c| c.is_ascii_digit() || c == '_'))
    {
        return None;
    }
    let mut value = 0_i128;
    for (part, weight) in parts.iter().zip([3600, 60, 1]) {
        value = value
            .saturating_add(in_radix(negative && weight == 3600, part, 10)?.saturating_mul(weight));
    }
    match fraction {
        None => Some(Kind::Int(value)),
        Some(fraction) => {
            format!("{value}.{}", fraction.replace('_', "")).parse().ok().map(Kind::Float)
        }
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let within = |part: &str, end: u32| {
        matches!(part.len(), 1 | 2)
            && all_digits(part)
            && part.parse().is_ok_and(|number: u32| number <= end)
    };
    year.len() == 4 && all_digits(year) && within(month, 12) && within(day, 31)
}

/// `2026-01-31 12:00:00`, with a fraction and a zone if wanted.
fn is_time(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let Some((date, time)) = text.split_once(['T', 't', ' ', '\t']) else { return false };
    let date: Vec<&str> = date.split('-').collect();
    let [year, month, day] = date.as_slice() else { return false };
    let short = |part: &str| matches!(part.len(), 1 | 2) && all_digits(part);
    if year.len() != 4 || !all_digits(year) || !short(month) || !short(day) {
        return false;
    }
    let clock = time.trim_start();
    let end =
        clock.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.')).unwrap_or(clock.len());
    let (clock, zone) = clock.split_at(end);
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else { return false };
    let (second, fraction) = second.split_once('.').unwrap_or((second, ""));
    let pair = |part: &str| part.len() == 2 && all_digits(part);
    short(hour)
        && pair(minute)
        && pair(second)
        && all_digits(fraction)
        && is_zone(zone.trim_start())
}

fn is_zone(text: &str) -> bool {
    if text.is_empty() || text == "Z" {
        return true;
    }
    let Some(offset) = text.strip_prefix(['+', '-']) else { return false };
    let digits = offset.replacen(':', "", 1);
    all_digits(&digits) && (1..=4).contains(&digits.len())
}

fn all_digits(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_yaml_1_1_says() {
        let cases = [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("NULL", Kind::Null),
            ("Yes", Kind::Bool(true)),
            ("off", Kind::Bool(false)),
            ("y", Kind::Text),
            ("n", Kind::Text),
            ("0", Kind::Int(0)),
            ("-0", Kind::Int(0)),
            ("755", Kind::Int(755)),
            ("0755", Kind::Int(0o755)),
            ("0_7", Kind::Int(7)),
            ("08", Kind::Text),
            ("0o755", Kind::Text),
            ("0x1F", Kind::Int(31)),
            ("-0b11", Kind::Int(-3)),
            ("1,000", Kind::Int(1000)),
            ("1_", Kind::Text),
            ("1:30", Kind::Int(5400)),
            ("1:00:01", Kind::Int(3601)),
            ("1:60", Kind::Text),
            ("1:30.5", Kind::Float(5400.5)),
            ("0.0", Kind::Float(0.0)),
            ("0.", Kind::Float(0.0)),
            (".5", Kind::Float(0.5)),
            (".", Kind::Text),
            ("1.5e+3", Kind::Float(1500.0)),
            ("1e3", Kind::Text),
            ("1.0.0", Kind::Text),
            ("-.INF", Kind::Float(f64::NEG_INFINITY)),
            (":linux", Kind::Symbol),
            ("2026-01-31", Kind::Timestamp),
            ("2026-13-01", Kind::Text),
            ("2026-01-31T12:00:00Z", Kind::Timestamp),
            ("2026-1-3 1:00:00.5 +01:00", Kind::Timestamp),
            ("2026-01-31x", Kind::Text),
            ("+", Kind::Text),
            ("-", Kind::Text),
            ("/srv", Kind::Text),
        ];
        for (text, kind) in cases {
            assert_eq!(resolve(text), kind, "{text}");
        }
        assert_eq!(resolve(&"9".repeat(99)), Kind::Int(i128::MAX));
    }

    #[test]
    fn the_integer_at_the_start_of_a_text_counts() {
        for (text, number) in [
            ("5", 5),
            (" 5 minutes", 5),
            ("1_000", 1000),
            ("-3", -3),
            ("_3", 0),
            ("soon", 0),
            ("0x10", 0),
        ] {
            assert_eq!(leading_integer(text), number, "{text}");
        }
    }
}
