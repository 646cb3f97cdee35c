//! One self-contained HTML page: no script, no external resource, light and dark, and printable.

use std::fmt::Write as _;

use super::{Footnotes, PAPER_URL, Report, Shown, group_heading, legible, pictures, shown};
use crate::figures::Figure;
use crate::study::Card;
use crate::tables::{Column, Group, Table, subjects};
use crate::verdict::Verdict;

const STYLE: &str = include_str!("report.css");

/// Escapes foreign text, for content and for quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in legible(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// The whole page.
pub fn page(report: &Report) -> String {
    let title = escape(&report.study.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n"
    );
    if let Some(unfinished) = report.study.unfinished() {
        let _ = writeln!(out, "<p class=\"unfinished\">{}</p>", escape(&unfinished));
    }
    let _ = writeln!(out, "<h1>{title}</h1>");
    if let Some(card) = &report.study.card {
        out.push_str(&health(card));
    } else if !report.sentences.is_empty() {
        let items: Vec<String> = report.sentences.iter().map(|s| format!("<li>{}</li>\n", escape(s))).collect();
        let _ = writeln!(out, "<ul class=\"answers\">\n{}</ul>", items.concat());
    }
    for total in &report.totals {
        let _ = writeln!(out, "<p class=\"totals\">{}</p>", escape(total));
    }
    for note in &report.study.notes {
        let _ = writeln!(out, "<p>{}</p>", escape(note));
    }
    let _ = writeln!(
        out,
        "<p class=\"source\">Tables and figures are laid out as in Darcet et al., <a href=\"{PAPER_URL}\">Vision \
         Transformers Need Registers</a>, and its reproducibility study.</p>"
    );
    out.push_str("<nav><ul>\n");
    let sections = std::iter::once(&report.subjects)
        .chain(&report.tables)
        .map(|t| (t.id.to_owned(), &t.title))
        .chain(report.figures.iter().map(|f| (anchor(f), &f.title)));
    for (id, title) in sections {
        let _ = writeln!(out, "<li><a href=\"#{id}\">{}</a></li>", escape(title));
    }
    out.push_str("</ul></nav>\n</header>\n<main>\n");
    out.push_str(&table(&report.subjects));
    for t in &report.tables {
        out.push_str(&table(t));
    }
    let figures: String = report.figures.iter().map(figure).collect();
    out.push_str(&pictures::once(&figures));
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// A health card: the finding, and a tile for each fact.
fn health(card: &Card) -> String {
    let class = match card.good {
        Some(true) => " good",
        Some(false) => " bad",
        None => "",
    };
    let mut out = format!("<div class=\"card{class}\">\n<p class=\"verdict\">{}</p>\n<dl>\n", escape(&card.verdict));
    for fact in &card.facts {
        let detail = match fact.detail.as_str() {
            "" => String::new(),
            detail => format!("<span class=\"detail\">{}</span>", escape(detail)),
        };
        let (label, headline) = (escape(&fact.label), escape(&fact.headline));
        let _ = writeln!(out, "<div><dt>{label}</dt><dd>{headline}{detail}</dd></div>");
    }
    out + "</dl>\n</div>\n"
}

/// One table as a section of the page.
pub fn table(table: &Table) -> String {
    let footnotes = Footnotes::of(table);
    let mut out = format!(
        "<section id=\"{id}\">\n<h2>{}</h2>\n<p class=\"caption\">{} <span class=\"how\">How each number is made: \
         <code>{}</code></span></p>\n",
        escape(&table.title),
        escape(&table.caption),
        escape(table.protocol),
        id = table.id,
    );
    if table.groups.is_empty() {
        out.push_str("<p class=\"nothing\">Nothing was measured.</p>\n</section>\n");
        return out;
    }
    let (ours, published): (Vec<&Group>, Vec<&Group>) = table.groups.iter().partition(|g| g.measured);
    if !ours.is_empty() {
        out.push_str(&grid(table, &ours, &footnotes));
    }
    if !published.is_empty() {
        let open = if ours.is_empty() { " open" } else { "" };
        let grid = grid(table, &published, &footnotes);
        let _ = write!(out, "<details{open}><summary>Published, not measured here</summary>\n{grid}</details>\n");
    }
    if !footnotes.0.is_empty() {
        out.push_str("<ol class=\"notes\">\n");
        for note in &footnotes.0 {
            let _ = writeln!(out, "<li>{}</li>", escape(note));
        }
        out.push_str("</ol>\n");
    }
    out.push_str("</section>\n");
    out
}

/// Some groups of a table under its heading.
fn grid(table: &Table, groups: &[&Group], footnotes: &Footnotes) -> String {
    let mut out = format!("<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">{}</th>", escape(table.stub));
    for column in &table.columns {
        let sub = match column.sub.as_str() {
            "" => String::new(),
            sub => format!("<span class=\"sub\">{}</span>", escape(sub)),
        };
        let _ = write!(out, "<th scope=\"col\"{}>{}{sub}</th>", class(column), escape(&column.label));
    }
    out.push_str("</tr></thead>\n");
    for g in groups {
        out.push_str(&group(table, g, footnotes));
    }
    out.push_str("</table></div>\n");
    out
}

fn group(table: &Table, group: &Group, footnotes: &Footnotes) -> String {
    let unmeasured = if group.measured { "" } else { " class=\"unmeasured\"" };
    let mut out = format!("<tbody{unmeasured}>\n");
    if let Some((label, provenance, about)) = group_heading(group) {
        let weights = provenance.map_or_else(String::new, |p| format!(" <span class=\"chip weights\">{p}</span>"));
        let _ = writeln!(
            out,
            "<tr class=\"group\"><th colspan=\"{}\" scope=\"rowgroup\">{}{weights}<span class=\"about\">{}</span></th></tr>",
            table.columns.len() + 1,
            escape(&label),
            escape(&about)
        );
    }
    for row in &group.rows {
        let label = escape(&row.label);
        let label = if table.id == subjects::ID { breakable(&label) } else { label };
        let _ = write!(out, "<tr><th scope=\"row\">{label}</th>");
        for (c, column) in row.cells.iter().zip(&table.columns) {
            // What was measured is read row by row: on a phone each cell stands under its heading.
            let named = (table.id == subjects::ID).then_some(column.label.as_str());
            out.push_str(&cell(named, &shown(c, table.spread, footnotes), column, c.ours.is_some()));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n");
    out
}

/// Text columns stand at the left, columns of numbers at the right.
fn class(column: &Column) -> &'static str {
    if column.text { " class=\"text\"" } else { "" }
}

/// Names may be broken after `-`, `_` and `/`, and nowhere else; of escaped text, in whose entities none of these stands.
fn breakable(escaped: &str) -> String {
    let mut out = String::with_capacity(escaped.len());
    for c in escaped.chars() {
        out.push(c);
        if matches!(c, '-' | '_' | '/') {
            out.push_str("<wbr>");
        }
    }
    out
}

fn cell(named: Option<&str>, shown: &Shown, column: &Column, number: bool) -> String {
    let main = escape(&shown.main);
    let main = if named.is_some() { breakable(&main) } else { main };
    let named = named.map_or_else(String::new, |label| format!(" data-label=\"{}\"", escape(label)));
    let mut out = format!("<td{}{named}>", class(column));
    if !shown.main.is_empty() {
        let class = if number { "ours" } else { "words" };
        let _ = write!(out, "<span class=\"{class}\">{main}");
        if let Some(spread) = &shown.spread {
            let _ = write!(out, "<span class=\"spread\"> ± {}</span>", escape(spread));
        }
        out.push_str("</span>");
        out.push_str(&marks(&shown.notes));
    }
    if !shown.small.is_empty() {
        let _ = write!(out, "<span class=\"small\">{}</span>", escape(&shown.small.join(" · ")));
    }
    for b in &shown.beside {
        let (class, chip) = match &b.verdict {
            None => ("beside apart", String::new()),
            Some(verdict) => ("beside", chip(verdict)),
        };
        let note = marks(&b.note.into_iter().collect::<Vec<_>>());
        let _ = write!(out, "<span class=\"{class}\">{} {}{note}{chip}</span>", b.who, escape(&b.text));
    }
    out.push_str("</td>");
    out
}

fn chip(verdict: &Verdict) -> String {
    let class = match verdict {
        Verdict::Agree | Verdict::Holds => "good",
        Verdict::Differ | Verdict::Fails => "bad",
        Verdict::NotComparable(_) | Verdict::NotMeasured => "none",
    };
    format!(" <span class=\"chip {class}\">{}</span>", verdict.label())
}

fn marks(notes: &[usize]) -> String {
    if notes.is_empty() {
        return String::new();
    }
    let notes: Vec<String> = notes.iter().map(usize::to_string).collect();
    format!("<sup>{}</sup>", notes.join(","))
}

/// A table and a figure may have one name.
fn anchor(figure: &Figure) -> String {
    format!("figure-{}", figure.id)
}

fn figure(figure: &Figure) -> String {
    format!(
        "<section id=\"{}\">\n<h2>{}</h2>\n<figure>\n<div class=\"scroll\">\n{}</div>\n<figcaption class=\"caption\">{} \
         <span class=\"how\">Numbers: <a href=\"figures/{id}.csv\">CSV</a>, <a href=\"figures/{id}.parquet\">Parquet</a>. How \
         it is made: <code>{}</code></span></figcaption>\n</figure>\n</section>\n",
        anchor(figure),
        escape(&figure.title),
        // Our own SVG, whose foreign text is escaped where it is written.
        if figure.parts.is_empty() { figure.svg.clone() } else { figure.parts.concat() },
        escape(&figure.caption),
        escape(figure.protocol),
        id = figure.id,
    )
}

#[cfg(test)]
mod tests {
    use super::{breakable, escape};

    /// Breaks when a name may be broken within a word, or the break stands within an entity.
    #[test]
    fn names_break_between_their_words() {
        let found = breakable(&escape("JPEGImages/voc_2012-<b>'"));
        assert_eq!(found, "JPEGImages/<wbr>voc_<wbr>2012-<wbr>&lt;b&gt;&#39;");
    }

    #[test]
    fn no_tag_and_no_attribute_survives() {
        assert_eq!(
            escape("<script>alert('x')</script> \" onload=\"&"),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &quot; onload=&quot;&amp;"
        );
    }
}
