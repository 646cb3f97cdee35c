//! What CLIP does to a text before it looks for words: entities decoded twice, characters composed, spaces collapsed.
//!
//! The reference passes a text through `ftfy.fix_text` and `html.unescape` first. For text that is not damaged those
//! decode entities, straighten quotes, drop control characters and compose (NFC), which is done here. What is not:
//! text that was decoded in the wrong encoding (`Ã©`) is not repaired, ligatures and full-width letters stay, and of
//! the named entities only `amp`, `lt`, `gt`, `quot`, `apos` and `nbsp` are known. No class name of `ImageNet` or of
//! the small datasets has any of these.

use tokenizers::NormalizedString;

/// The text with single spaces, none at either end.
pub(super) fn clean(text: &str) -> String {
    let straight: String = unescaped(&unescaped(text)).chars().filter(|c| !is_control(*c)).map(straight).collect();
    let mut composed = NormalizedString::from(straight);
    composed.nfc();
    let words: Vec<&str> = composed.get().split_whitespace().collect();
    words.join(" ")
}

/// What is dropped; line feeds, tabs and their kin are spaces.
fn is_control(c: char) -> bool {
    matches!(c, '\0'..='\x08' | '\x0b' | '\x0e'..='\x1f' | '\x7f' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

fn straight(c: char) -> char {
    match c {
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => '\'',
        '\u{201c}'..='\u{201f}' => '"',
        c => c,
    }
}

/// Entities as their characters; what is no entity stays.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let end = tail.bytes().take(LONGEST_ENTITY).position(|byte| byte == b';');
        let Some((c, end)) = end.and_then(|end| Some((entity(&tail[..end])?, end))) else {
            out.push('&');
            rest = tail;
            continue;
        };
        out.push(c);
        rest = &tail[end + 1..];
    }
    out.push_str(rest);
    out
}

/// Bytes within which an entity ends.
const LONGEST_ENTITY: usize = 12;

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        "nbsp" => return Some('\u{a0}'),
        _ => {}
    }
    let number = name.strip_prefix('#')?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_decoded_twice_and_spaces_collapsed() {
        for (raw, want) in [
            ("  a \t b\n", "a b"),
            ("&amp;lt;", "<"),
            ("AT&amp;T & co", "AT&T & co"),
            ("&#65;&#x42;&bogus;&#x110000;&", "AB&bogus;&#x110000;&"),
            ("x&nbsp;y\u{3000}z", "x y z"),
            ("it\u{2019}s \u{201c}so\u{201d}", "it's \"so\""),
            ("e\u{301}\u{7}", "é"),
            ("", ""),
        ] {
            assert_eq!(clean(raw), want, "{raw:?}");
        }
    }
}
