//! Rust source as words and signs, without comments, strings and tests.

/// The words and signs of a text. Numbers count as words; `::` is one sign.
pub(crate) fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '"' => string(rest),
            '\'' => quoted(rest),
            'r' | 'b' | 'c' if literal(rest) > 0 => literal(rest),
            c if c.is_whitespace() => c.len_utf8(),
            ':' if rest.starts_with("::") => {
                tokens.push(&rest[..2]);
                2
            }
            '-' if rest.starts_with("->") => {
                tokens.push(&rest[..2]);
                2
            }
            c if c == '_' || c.is_alphanumeric() => {
                let length = word(rest);
                tokens.push(&rest[..length]);
                length
            }
            c => {
                tokens.push(&rest[..c.len_utf8()]);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn word(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len())
}

/// A comment in `/*` and `*/`, which may have others in it.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest.chars().next().map_or(0, char::len_utf8);
        }
        if depth == 0 || at >= text.len() {
            return at;
        }
    }
}

fn string(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text[1..].find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// A character, or the sign of a lifetime with its name.
fn quoted(text: &str) -> usize {
    let mut chars = text[1..].char_indices();
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = at + escaped.len_utf8();
            text[1 + from..].find('\'').map_or(text.len(), |end| from + end + 2)
        }
        (Some(_), Some((at, '\''))) => at + 2,
        _ => 1 + word(&text[1..]),
    }
}

/// A raw string, or one of bytes; 0, if it is none.
fn literal(text: &str) -> usize {
    let prefix = word(text);
    let rest = &text[prefix..];
    match &text[..prefix] {
        "b" | "c" if rest.starts_with('"') => prefix + string(rest),
        "b" if rest.starts_with('\'') => prefix + quoted(rest),
        "r" | "br" | "cr" => {
            let hashes = rest.find(|c| c != '#').unwrap_or(0);
            if !rest[hashes..].starts_with('"') {
                return 0;
            }
            let end = format!("\"{}", "#".repeat(hashes));
            let body = prefix + hashes + 1;
            text[body..].find(&end).map_or(text.len(), |at| body + at + end.len())
        }
        _ => 0,
    }
}

/// The place after the group that begins at `at`.
pub(crate) fn end_of_group(tokens: &[&str], at: usize) -> usize {
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate().skip(at) {
        match *token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place + 1;
        }
    }
    tokens.len()
}

/// The place after the item that the tokens begin with: after its braces, or its semicolon.
pub(crate) fn end_of_item(tokens: &[&str]) -> usize {
    let item = bare(tokens);
    let first = item.iter().find(|word| !["async", "unsafe", "extern", "default"].contains(word));
    let is_value = matches!(first, Some(&("use" | "type" | "static")))
        || first == Some(&"const")
            && !matches!(item.get(1), Some(&("fn" | "async" | "unsafe" | "extern")));
    let mut at = tokens.len() - item.len();
    while at < tokens.len() {
        match tokens[at] {
            ";" => return at + 1,
            "{" if !is_value => return end_of_group(tokens, at),
            "(" | "[" | "{" => at = end_of_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// An item without its attributes and its visibility.
pub(crate) fn bare<'t, 's>(mut item: &'t [&'s str]) -> &'t [&'s str] {
    loop {
        let group = match item {
            ["#", "[", ..] | ["pub", "(", ..] => 1,
            ["#", "!", "[", ..] => 2,
            ["pub", rest @ ..] => return rest,
            _ => return item,
        };
        item = &item[end_of_group(item, group)..];
    }
}

/// The tokens without the items that are only compiled for tests.
pub(crate) fn without_tests<'t>(tokens: &[&'t str]) -> Vec<&'t str> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let end = match tokens[at..] {
            ["#", "[", ..] => end_of_group(tokens, at + 1),
            _ => at + 1,
        };
        let is_for_tests = tokens[at..end].starts_with(&["#", "[", "cfg", "(", "test", ")"])
            || tokens[at..end].starts_with(&["#", "[", "cfg", "(", "all", "(", "test"]);
        if is_for_tests {
            at = end + end_of_item(&tokens[end..]);
        } else {
            kept.extend(&tokens[at..end]);
            at = end;
        }
    }
    kept
}
