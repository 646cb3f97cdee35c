//! Just enough of Rust's grammar to tell code from comments, strings and test modules.

/// The text with comments blanked, and string and character literals too if asked; line numbers stay.
pub fn code(text: &str, blank_strings: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = literal_end(&chars, i);
        let (end, keep) = match end {
            Some((end, Kind::Comment)) => (end, false),
            Some((end, Kind::Literal)) => (end, !blank_strings),
            None => (i + 1, true),
        };
        out.extend(chars[i..end].iter().map(|&c| if keep || c == '\n' { c } else { ' ' }));
        i = end;
    }
    out
}

/// The code without `#[cfg(test)] mod … { … }`.
pub fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let open = rest.find('{').unwrap_or(rest.len());
        let semicolon = rest.find(';').unwrap_or(rest.len());
        let end = if semicolon < open { semicolon + 1 } else { open + matching(&rest[open..]) };
        let blank: String = rest[..end.min(rest.len())].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        let end = (start + end).min(out.len());
        out.replace_range(start..end, &blank);
    }
    out
}

/// Length up to and with the brace that closes the first one.
fn matching(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    text.len()
}

enum Kind {
    Comment,
    Literal,
}

/// The end of the comment or literal that begins at `i`, if one does.
fn literal_end(chars: &[char], i: usize) -> Option<(usize, Kind)> {
    let at = |k: usize| chars.get(k).copied().unwrap_or('\0');
    let word_before = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
    match (at(i), at(i + 1)) {
        ('/', '/') => Some(((i..chars.len()).find(|&k| chars[k] == '\n').unwrap_or(chars.len()), Kind::Comment)),
        ('/', '*') => Some((
            (i + 2..chars.len()).find(|&k| at(k) == '*' && at(k + 1) == '/').map_or(chars.len(), |k| k + 2),
            Kind::Comment,
        )),
        ('"', _) => Some((quoted(chars, i + 1), Kind::Literal)),
        ('r', '#' | '"') if !word_before || at(i - 1) == 'b' => {
            let hashes = chars[i + 1..].iter().take_while(|&&c| c == '#').count();
            if at(i + 1 + hashes) != '"' {
                return None;
            }
            let closes = |k: usize| at(k) == '"' && (1..=hashes).all(|h| at(k + h) == '#');
            let end = (i + 2 + hashes..chars.len()).find(|&k| closes(k)).map_or(chars.len(), |k| k + 1 + hashes);
            Some((end, Kind::Literal))
        }
        // A character, unless it is a lifetime.
        ('\'', '\\') => {
            Some(((i + 3..chars.len()).find(|&k| chars[k] == '\'').map_or(chars.len(), |k| k + 1), Kind::Literal))
        }
        ('\'', _) if at(i + 2) == '\'' => Some((i + 3, Kind::Literal)),
        _ => None,
    }
}

fn quoted(chars: &[char], mut i: usize) -> usize {
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// Lines (from 1) on which a word or call begins, where no identifier runs into it.
pub fn lines_with(code: &str, needle: &str) -> Vec<usize> {
    let identifier = |c: char| c.is_alphanumeric() || c == '_';
    let starts = needle.starts_with(identifier);
    let ends = needle.ends_with(identifier);
    code.match_indices(needle)
        .filter(|(at, _)| {
            let before = code[..*at].chars().next_back().is_some_and(identifier);
            let after = code[at + needle.len()..].chars().next().is_some_and(identifier);
            !(starts && before || ends && after)
        })
        .map(|(at, _)| code[..at].matches('\n').count() + 1)
        .collect()
}

#[test]
fn comments_and_literals_are_told_from_code() {
    let text = "a(\"x\\\"y\", 'z', '\\'', r#\"q\"r\"#); // c\nfn f<'a>(b: &'a u8) {} /* d\n */ e\n";
    let kept = code(text, true);
    assert_eq!(kept.matches('\n').count(), 3);
    assert!(!kept.contains(['x', 'y', 'z', 'q', 'c', 'd', '"']), "{kept}");
    assert!(kept.contains("fn f<'a>(b: &'a u8) {}") && kept.ends_with(" e\n"), "{kept}");
    assert!(code(text, false).contains("r#\"q\"r\"#"));
    assert_eq!(
        without_tests("a\n#[cfg(test)]\nmod t { { } }\nb\n#[cfg(test)]\nmod u;\nc")
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(lines_with("xprintln!()\nprintln!()\n", "println!"), [2]);
}
