//! CSV (RFC 4180), one line per cell: what a program reads.

use std::fmt::Write as _;

use super::legible;
use crate::tables::{Cell, Table, Unit};

const HEADER: &str = "table,group,about,row,column,column_detail,value,unit,std,stderr,n,draws,images_without,text,\
                      weights,beside,beside_value,beside_std,verdict,notes\r\n";

/// Quotes foreign text. What a spreadsheet would run as a formula is preceded by an apostrophe.
pub fn escape(text: &str) -> String {
    let mut text = legible(text);
    if text.trim_start().starts_with(['=', '+', '-', '@']) {
        text.insert(0, '\'');
    }
    if text.contains([',', '"', ';']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// A table. A cell with several numbers beside it has a line for each.
pub fn table(table: &Table) -> String {
    let mut out = HEADER.to_owned();
    for (group, row, column, cell) in table.cells() {
        if *cell == Cell::default() {
            continue;
        }
        let mut head = vec![table.id.to_owned()];
        head.extend([&group.label, &group.about.join("; "), &row.label, &column.label, &column.sub].map(|t| escape(t)));
        head.extend(ours(cell));
        let notes = escape(&cell.notes.join("; "));
        if cell.beside.is_empty() {
            let _ = write!(out, "{},,,,,{notes}\r\n", head.join(","));
        }
        for b in &cell.beside {
            let verdict = match &b.verdict {
                crate::verdict::Verdict::NotComparable(why) => why,
                other => other.label(),
            };
            let tail = [b.who.to_owned(), optional(b.value), optional(b.std), escape(verdict), notes.clone()];
            let _ = write!(out, "{},{}\r\n", head.join(","), tail.join(","));
        }
    }
    out
}

fn ours(cell: &Cell) -> [String; 9] {
    let weights = cell.provenance.map_or("", crate::study::Provenance::label).to_owned();
    let text = escape(&cell.text);
    let Some(v) = &cell.ours else {
        let empty = String::new;
        return [empty(), empty(), empty(), empty(), empty(), empty(), empty(), text, weights];
    };
    let unit = match v.unit {
        Unit::Percent | Unit::Share => "%",
        Unit::Number | Unit::Count => "",
    };
    [
        v.value.to_string(),
        unit.to_owned(),
        optional(v.std),
        optional(v.stderr),
        v.n.to_string(),
        v.draws.to_string(),
        v.images_without.to_string(),
        text,
        weights,
    ]
}

fn optional(x: Option<f64>) -> String {
    x.map_or_else(String::new, |x| x.to_string())
}

#[cfg(test)]
mod tests {
    use super::{HEADER, escape};

    #[test]
    fn formulas_and_quotes_are_text() {
        assert_eq!(escape("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(escape(" @SUM"), "' @SUM");
        assert_eq!(escape("plain"), "plain");
        assert_eq!(escape("a,b"), "\"a,b\"");
    }

    #[test]
    fn the_header_has_twenty_columns() {
        assert_eq!(HEADER.split(',').count(), 20);
    }
}
