//! Anything may stand in a name, and any byte in a part: no format breaks, nothing panics.

use std::fs;

use proptest::prelude::*;
use reports::render::{csv, html, latex, legible, markdown};
use reports::{QueryFormat, query, write};

/// Text that is full of what grammars care about.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("<"),
        Just(">"),
        Just("&"),
        Just("\""),
        Just("'"),
        Just("|"),
        Just("\\"),
        Just("\n"),
        Just("\r\n"),
        Just("\0"),
        Just("="),
        Just("+"),
        Just("-"),
        Just("@"),
        Just(","),
        Just("["),
        Just("]("),
        Just(")"),
        Just("`"),
        Just("*"),
        Just("_"),
        Just("%"),
        Just("$"),
        Just("{"),
        Just("}"),
        Just("#"),
        Just("~"),
        Just("^"),
        Just("http://"),
        Just("\u{202e}"),
        Just("\u{2028}"),
        Just("\u{feff}"),
        Just("é"),
        Just("狗"),
        Just("a"),
        Just(" "),
        Just("7"),
    ];
    prop_oneof![prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat()), any::<String>()]
}

proptest! {
    #[test]
    fn html_and_xml_stay_text(name in text()) {
        let escaped = html::escape(&name);
        prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
        // Every & begins an entity of ours; read back, they give the name.
        let read = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
        prop_assert_eq!(read.replace("&amp;", "&"), legible(&name));
        // Characters that XML 1.0 forbids.
        let forbidden = |c: char| c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}');
        prop_assert!(!escaped.chars().any(forbidden));
    }

    #[test]
    fn markdown_makes_no_cell_link_or_tag(name in text()) {
        let escaped = markdown::escape(&name);
        prop_assert!(!escaped.contains(['<', '>', '|', '\n', '\r', '@']));
        prop_assert!(!escaped.contains("http:"));
        let chars: Vec<char> = escaped.chars().collect();
        for (i, c) in chars.iter().enumerate() {
            if matches!(c, '`' | '*' | '[' | ']' | '~' | '$') {
                // Preceded by an odd number of backslashes: escaped.
                let slashes = chars[..i].iter().rev().take_while(|c| **c == '\\').count();
                prop_assert!(slashes % 2 == 1, "{}", escaped);
            }
        }
    }

    #[test]
    fn latex_keeps_only_our_commands(name in text()) {
        let escaped = latex::escape(&name);
        let ours = [
            "\\textbackslash{}", "\\textasciitilde{}", "\\textasciicircum{}", "\\textless{}", "\\textgreater{}", "\\textbar{}",
            "\\textquotedbl{}", "\\textasciigrave{}", "$\\pm$", "$\\ge$", "$\\le$", "$\\times$", "$\\cdot$", "{[}", "{]}", "{*}",
            "-{}", "'{}", "\\{", "\\}", "\\$", "\\&", "\\#", "\\_", "\\%",
        ];
        let mut rest = escaped.as_str();
        while let Some(first) = rest.chars().next() {
            if let Some(command) = ours.iter().find(|o| rest.starts_with(**o)) {
                rest = &rest[command.len()..];
            } else {
                let special = "\\{}$&#_%~^<>|\"`[]*".contains(first);
                prop_assert!(!special, "{}", escaped);
                rest = &rest[first.len_utf8()..];
            }
        }
    }

    #[test]
    fn csv_is_one_field_and_no_formula(name in text()) {
        let escaped = csv::escape(&name);
        let inner = if let Some(quoted) = escaped.strip_prefix('"') {
            let quoted = quoted.strip_suffix('"').unwrap();
            prop_assert!(!quoted.replace("\"\"", "").contains('"'));
            quoted.replace("\"\"", "\"")
        } else {
            prop_assert!(!escaped.contains([',', '"', '\n', '\r']));
            escaped
        };
        prop_assert!(!inner.trim_start().starts_with(['=', '+', '-', '@']));
        let kept = legible(&name);
        prop_assert!(inner == kept || inner == format!("'{kept}"), "{}", inner);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn damaged_parts_are_errors_or_rows(table in prop::sample::select(&["token_stats", "maps", "grids", "curves", "pictures"][..]), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        let study = crate::made_up::study(&store);
        let folder = study.subjects[0].tables[table][0].clone();
        let part = folder.join("part-00000.parquet");
        let mut bytes = fs::read(&part).unwrap();
        for (at, value) in &flips {
            let at = at.index(bytes.len());
            bytes[at] = *value;
            if cut {
                bytes.truncate(at + 1);
            }
        }
        fs::write(&part, &bytes).unwrap();
        // The marker agrees, as if the disk had rotted behind it.
        fs::write(part.with_extension("done"), format!("{{\"rows\":12,\"bytes\":{},\"items\":1,\"skipped\":0}}", bytes.len())).unwrap();
        let _ = write(&study, &dir.path().join("out"));
        for format in [QueryFormat::Table, QueryFormat::Csv] {
            let _ = query(&store, "SELECT * FROM token_stats", format);
        }
    }

    #[test]
    fn any_text_is_an_answer_or_an_error(sql in prop_oneof![any::<String>(), "(SELECT|WITH|SHOW|DROP|\\*|FROM|images|WHERE|GROUP BY|1|,|\\(|\\)| ){0,12}"]) {
        let dir = tempfile::tempdir().unwrap();
        crate::made_up::put(dir.path(), "m", "d", "01", 0, crate::made_up::images(2));
        let _ = query(dir.path(), &sql, QueryFormat::Csv);
    }
}

/// Every byte of a footer, damaged in two ways. Breaks when Polars is let at a file whose columns lie outside of it: it takes
/// their range on trust, without a check that could unwind.
#[test]
fn columns_outside_of_a_file_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let folder = crate::made_up::put(dir.path(), "m", "d", "01", 0, crate::made_up::cutoffs("block_3", Some(40.0)));
    let part = folder.join("part-00000.parquet");
    let whole = fs::read(&part).unwrap();
    let end = whole.len();
    let footer = u32::from_le_bytes(whole[end - 8..end - 4].try_into().unwrap()) as usize;
    let mut refused = 0;
    for at in end - 8 - footer..end - 8 {
        for flip in [0x20, 0x40, 0x7f] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            fs::write(&part, &bytes).unwrap();
            let found = query(dir.path(), "SELECT * FROM cutoffs", QueryFormat::Csv);
            refused += usize::from(found.is_err_and(|e| e.to_string().contains("outside of the file")));
        }
    }
    assert!(refused > 0, "no damage moved a column");
}
