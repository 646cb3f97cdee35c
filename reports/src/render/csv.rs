//! CSV (RFC 4180): what a program reads. A table has one line per cell.

use schemas::Frame;
use schemas::frame::Value;

use super::legible;
use crate::study::Provenance;
use crate::tables::{Beside, Cell, Table, Unit};
use crate::verdict::Verdict;

/// Quotes foreign text. What a spreadsheet would run as a formula is preceded by an apostrophe.
pub fn escape(text: &str) -> String {
    let mut text = legible(text);
    if text.trim_start().starts_with(['=', '+', '-', '@']) {
        text.insert(0, '\'');
    }
    if text.contains([',', '"', ';']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// Any frame. Numbers of a list stand in one field with spaces between.
pub fn frame(frame: &Frame) -> String {
    let mut out = format!("{}\r\n", frame.names().join(","));
    for i in 0..frame.rows() {
        let fields: Vec<String> = frame.row(i).map(|value| field(&value)).collect();
        out.push_str(&fields.join(","));
        out.push_str("\r\n");
    }
    out
}

fn field(value: &Value) -> String {
    match value {
        Value::Text(text) => escape(text),
        Value::Number(number) => number.map_or_else(String::new, |x| x.to_string()),
        Value::Count(count) => count.map_or_else(String::new, |n| n.to_string()),
        Value::List(values) => values.iter().map(f32::to_string).collect::<Vec<_>>().join(" "),
    }
}

/// The numbers of a table, one row per cell. A cell with several numbers beside it has a row for each.
pub fn cells(table: &Table) -> Frame {
    let mut out = Frame::new([
        "table",
        "group",
        "about",
        "row",
        "column",
        "column_detail",
        "value",
        "unit",
        "std",
        "stderr",
        "n",
        "draws",
        "images_without",
        "text",
        "weights",
        "beside",
        "beside_value",
        "beside_std",
        "verdict",
        "notes",
    ]);
    for (group, row, column, cell) in table.cells() {
        if *cell == Cell::default() {
            continue;
        }
        let nothing = Beside {
            who: "",
            text: String::new(),
            value: None,
            std: None,
            verdict: Verdict::NotComparable(String::new()),
        };
        let beside = if cell.beside.is_empty() { std::slice::from_ref(&nothing) } else { &cell.beside };
        for b in beside {
            let verdict = match &b.verdict {
                Verdict::NotComparable(why) => why,
                other => other.label(),
            };
            let ours = cell.ours.as_ref();
            out.push([
                table.id.into(),
                (&group.label).into(),
                group.about.join("; ").into(),
                (&row.label).into(),
                (&column.label).into(),
                (&column.sub).into(),
                ours.map(|v| v.value).into(),
                ours.map_or("", |v| unit(v.unit)).into(),
                ours.and_then(|v| v.std).into(),
                ours.and_then(|v| v.stderr).into(),
                ours.map(|v| v.n).into(),
                ours.map(|v| u64::from(v.draws)).into(),
                ours.map(|v| u64::from(v.images_without)).into(),
                (&cell.text).into(),
                cell.provenance.map_or("", Provenance::label).into(),
                b.who.into(),
                b.value.into(),
                b.std.into(),
                verdict.into(),
                cell.notes.join("; ").into(),
            ]);
        }
    }
    out
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Percent | Unit::Hundredths | Unit::Share => "%",
        Unit::Number | Unit::Count => "",
    }
}

#[cfg(test)]
mod tests {
    use schemas::Frame;

    use super::{escape, frame};

    #[test]
    fn formulas_and_quotes_are_text() {
        assert_eq!(escape("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(escape(" @SUM"), "' @SUM");
        assert_eq!(escape("plain"), "plain");
        assert_eq!(escape("a,b"), "\"a,b\"");
    }

    /// Breaks when a null reads as zero, or a list runs into its neighbours.
    #[test]
    fn a_frame_has_a_line_per_row() {
        let mut f = Frame::new(["who", "x", "n", "map"]);
        f.push(["a,b".into(), 0.5.into(), 3_u64.into(), [1.5_f32, -2.0][..].into()]);
        f.push(["=c".into(), None::<f64>.into(), None::<u64>.into(), [][..].into()]);
        assert_eq!(frame(&f), "who,x,n,map\r\n\"a,b\",0.5,3,1.5 -2\r\n'=c,,,\r\n");
    }
}
