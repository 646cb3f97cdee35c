//! LaTeX (booktabs). Needs `booktabs`, `xcolor` and `graphicx`; names outside Latin need `LuaLaTeX` or `XeLaTeX`.

use std::fmt::Write as _;

use super::{Footnotes, Shown, group_heading, legible, shown};
use crate::tables::Table;

/// Escapes foreign text: no command, no math, no alignment, no comment survives.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in legible(text).chars() {
        match c {
            '\\' => out.push_str("\\textbackslash{}"),
            '{' | '}' | '$' | '&' | '#' | '_' | '%' => {
                out.push('\\');
                out.push(c);
            }
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            '"' => out.push_str("\\textquotedbl{}"),
            '`' => out.push_str("\\textasciigrave{}"),
            // Braces keep `--` and `''` from becoming one character, and a leading `[` or `*` from being an option of
            // the line break before it.
            '*' => out.push_str("{*}"),
            '-' => out.push_str("-{}"),
            '\'' => out.push_str("'{}"),
            '[' => out.push_str("{[}"),
            ']' => out.push_str("{]}"),
            '±' => out.push_str("$\\pm$"),
            '≥' => out.push_str("$\\ge$"),
            '≤' => out.push_str("$\\le$"),
            '×' => out.push_str("$\\times$"),
            '·' => out.push_str("$\\cdot$"),
            '—' => out.push_str("---"),
            '\u{fffd}' => out.push('?'),
            _ => out.push(c),
        }
    }
    out
}

/// A table in a `table*` float.
pub fn table(table: &Table) -> String {
    let footnotes = Footnotes::of(table);
    let columns = table.columns.len() + 1;
    let mut out = format!("% {}; needs booktabs, xcolor, graphicx\n", table.protocol);
    out.push_str("\\begin{table*}\n\\centering\\small\n");
    let _ = writeln!(out, "\\caption{{{}. {}}}", escape(&table.title), escape(&table.caption));
    let _ = writeln!(out, "\\label{{tab:{}}}", table.id);
    let _ = write!(
        out,
        "\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n\\begin{{tabular}}{{l{}}}\n\\toprule\n",
        "c".repeat(columns - 1)
    );
    let heads: Vec<String> =
        std::iter::once(escape(table.stub)).chain(table.columns.iter().map(|c| escape(&c.label))).collect();
    let _ = writeln!(out, "{} \\\\", heads.join(" & "));
    if table.columns.iter().any(|c| !c.sub.is_empty()) {
        let subs: Vec<String> = table.columns.iter().map(|c| format!("{{\\scriptsize {}}}", escape(&c.sub))).collect();
        let _ = writeln!(out, " & {} \\\\", subs.join(" & "));
    }
    for group in &table.groups {
        out.push_str("\\midrule\n");
        if let Some((label, provenance, about)) = group_heading(group) {
            let mut line = format!("\\textbf{{{}}}", escape(&label));
            for text in provenance.into_iter().chain((!about.is_empty()).then_some(about.as_str())) {
                let _ = write!(line, " {{\\scriptsize {}}}", escape(text));
            }
            let _ = writeln!(out, "\\multicolumn{{{columns}}}{{l}}{{{line}}} \\\\");
        }
        for row in &group.rows {
            let cells: Vec<String> =
                row.cells.iter().map(|c| cell(&shown(c, table.spread, &footnotes), group.measured)).collect();
            let _ = writeln!(out, "{} & {} \\\\", escape(&row.label), cells.join(" & "));
        }
    }
    out.push_str("\\bottomrule\n\\end{tabular}}\n");
    for (i, note) in footnotes.0.iter().enumerate() {
        let _ = writeln!(out, "\\par{{\\scriptsize $^{{{}}}$ {}}}", i + 1, escape(note));
    }
    out.push_str("\\end{table*}\n");
    out
}

fn cell(shown: &Shown, measured: bool) -> String {
    let mut out = escape(&shown.main);
    if let Some(spread) = &shown.spread {
        let _ = write!(out, " {{\\scriptsize $\\pm$ {}}}", escape(spread));
    }
    let marks: Vec<String> = shown.notes.iter().map(usize::to_string).collect();
    if !marks.is_empty() {
        let _ = write!(out, "$^{{{}}}$", marks.join(","));
    }
    for b in &shown.beside {
        let mut text = escape(&b.text);
        if measured {
            text = format!("{} {text}", b.who);
        }
        if let Some(verdict) = &b.verdict {
            let _ = write!(text, ": {}", verdict.label());
        }
        if let Some(note) = b.note {
            let _ = write!(text, "$^{{{note}}}$");
        }
        let _ = write!(out, " {{\\scriptsize\\color{{gray}}({text})}}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn no_command_survives() {
        assert_eq!(escape("\\input{x}%"), "\\textbackslash{}input\\{x\\}\\%");
        assert_eq!(escape("a_b & c$^2$ ~ #1"), "a\\_b \\& c\\$\\textasciicircum{}2\\$ \\textasciitilde{} \\#1");
    }
}
