//! Markdown (GitHub's tables).

use std::fmt::Write as _;

use super::{Footnotes, PAPER_URL, Report, Shown, group_heading, legible, shown};
use crate::figures::Figure;
use crate::tables::Table;

/// Escapes foreign text: it stands as it is, makes no markup, no HTML, no link and no table column.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let text = legible(text);
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let after = chars.peek().copied().unwrap_or(' ');
        match c {
            // Within a word it marks nothing, and names are full of it.
            '_' if before.is_alphanumeric() && after.is_alphanumeric() => out.push('_'),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Entities, since a bare address becomes a link without any markup, and `|` ends a cell even in code.
            '|' => out.push_str("&#124;"),
            '@' => out.push_str("&#64;"),
            ':' if out.ends_with("http") || out.ends_with("https") || out.ends_with("ftp") => out.push_str("&#58;"),
            '.' if out.ends_with("www") || out.ends_with("WWW") => out.push_str("&#46;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
        before = c;
    }
    out
}

/// A whole report.
pub fn report(report: &Report) -> String {
    let mut out = String::new();
    if let Some(unfinished) = report.study.unfinished() {
        // The sentence is ours, with code in it.
        let _ = write!(out, "> **{unfinished}**\n\n");
    }
    let _ = write!(out, "# {}\n\n", escape(&report.study.title));
    if let Some(card) = &report.study.card {
        let _ = write!(out, "**{}**\n\n", escape(&card.verdict));
        for fact in &card.facts {
            let words = [&fact.headline, &fact.detail].map(|text| escape(text));
            let between = if fact.detail.is_empty() { "" } else { ": " };
            let _ = writeln!(out, "- *{}* {}{between}{}", escape(&fact.label), words[0], words[1]);
        }
        out.push('\n');
    } else if !report.sentences.is_empty() {
        for sentence in &report.sentences {
            let _ = writeln!(out, "- {}", escape(sentence));
        }
        out.push('\n');
    }
    for total in &report.totals {
        let _ = write!(out, "{}\n\n", escape(total));
    }
    for note in &report.study.notes {
        let _ = write!(out, "{}\n\n", escape(note));
    }
    let _ = write!(
        out,
        "Tables and figures are laid out as in Darcet et al., [Vision Transformers Need Registers]({PAPER_URL}), and its \
         reproducibility study.\n\n"
    );
    out.push_str(&table(&report.subjects));
    for t in &report.tables {
        out.push('\n');
        out.push_str(&table(t));
    }
    for f in &report.figures {
        out.push('\n');
        out.push_str(&figure(f));
    }
    out
}

/// A table with its title, caption and footnotes.
pub fn table(table: &Table) -> String {
    let footnotes = Footnotes::of(table);
    let mut out = format!("## {}\n\n{}\n\n", escape(&table.title), escape(&table.caption));
    let _ = write!(out, "How each number is made: `{}`\n\n", table.protocol);
    if table.groups.is_empty() {
        out.push_str("Nothing was measured.\n");
        return out;
    }
    let mut heads = vec![escape(table.stub)];
    heads.extend(table.columns.iter().map(|c| match c.sub.as_str() {
        "" => escape(&c.label),
        sub => format!("{} ({})", escape(&c.label), escape(sub)),
    }));
    let labelled = table.groups.iter().any(|g| group_heading(g).is_some());
    // A published table is not repeated below our numbers; it stands alone where nothing was measured.
    let any = table.groups.iter().any(|g| g.measured);
    for group in table.groups.iter().filter(|g| g.measured || !any) {
        if let Some((label, provenance, about)) = group_heading(group) {
            let _ = write!(out, "**{}**", escape(&label));
            if let Some(p) = provenance {
                let _ = write!(out, " — {p}");
            }
            if !about.is_empty() {
                let _ = write!(out, "  \n{}", escape(&about));
            }
            out.push_str("\n\n");
        }
        let _ = write!(out, "| {} |\n|{}\n", heads.join(" | "), " --- |".repeat(heads.len()));
        for row in &group.rows {
            let cells = row.cells.iter().map(|c| cell(&shown(c, table.spread, &footnotes)));
            let cells: Vec<String> = cells.collect();
            let _ = writeln!(out, "| {} | {} |", escape(&row.label), cells.join(" | "));
        }
        if labelled {
            out.push('\n');
        }
    }
    if !footnotes.0.is_empty() {
        if !labelled {
            out.push('\n');
        }
        let notes: Vec<String> = footnotes
            .0
            .iter()
            .enumerate()
            .map(|(i, n)| format!("{} {}", superscript(i + 1).trim_start(), escape(n)))
            .collect();
        out.push_str(&notes.join("  \n"));
        out.push('\n');
    }
    out
}

fn cell(shown: &Shown) -> String {
    let mut parts = Vec::new();
    if !shown.main.is_empty() {
        let mut main = escape(&shown.main);
        if let Some(spread) = &shown.spread {
            let _ = write!(main, " ± {spread}");
        }
        for note in &shown.notes {
            main.push_str(&superscript(*note));
        }
        parts.push(main);
    }
    if !shown.small.is_empty() {
        parts.push(format!("({})", shown.small.join(", ")));
    }
    for b in &shown.beside {
        let mut text = format!("{} {}", b.who, escape(&b.text));
        if let Some(verdict) = &b.verdict {
            let _ = write!(text, " *{}*", verdict.label());
        }
        if let Some(note) = b.note {
            text.push_str(&superscript(note));
        }
        parts.push(text);
    }
    parts.join("<br>")
}

fn figure(figure: &Figure) -> String {
    format!(
        "## {title}\n\n![{title}](figures/{id}.svg)\n\n{}\n\nNumbers: [CSV](figures/{id}.csv), [Parquet](figures/{id}.parquet). \
         How it is made: `{}`\n",
        escape(&figure.caption),
        figure.protocol,
        title = escape(&figure.title),
        id = figure.id,
    )
}

fn superscript(n: usize) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    // A thin space keeps ¹ ² apart from ¹².
    let digits = n.to_string().bytes().map(|b| DIGITS[usize::from(b - b'0')]).collect::<String>();
    format!("\u{2009}{digits}")
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn foreign_text_makes_no_markup() {
        assert_eq!(escape("<img src=x>|a*b_"), "&lt;img src=x&gt;&#124;a\\*b\\_");
        assert_eq!(escape("[x](http://y) www.z a@b"), "\\[x\\](http&#58;//y) www&#46;z a&#64;b");
        assert_eq!(escape("a\nb"), "a b");
        assert_eq!(escape("block_3 _x_"), "block_3 \\_x\\_");
    }
}
