//! What Tables 6 and 7 of the study share: mIoU on ADE20K by number of registers, and its variance over runs.
//!
//! The study prints the variance of a share, so that its standard deviation in per cent is 100·√variance.

use super::heads::{self, Groups, each, follows};
use super::local::registers;
use super::{Cell, Column, Context, Group, Row, Unit, Value};
use crate::models::{base, table2_dataset};
use crate::published::Published;
use crate::study::Source;

const MIOU: (&str, Unit) = ("miou_frac", Unit::Hundredths);

/// A table of the study.
pub struct StudyTable {
    /// Its name.
    pub id: &'static str,
    /// Its name among the published numbers.
    pub published: &'static str,
    /// The model, without registers, by our name.
    pub model: &'static str,
    /// The same by the study's.
    pub label: &'static str,
    /// The recipe of its head, and how long it was trained, in the words of a study file's settings.
    pub recipe: [&'static str; 2],
    /// Why even the same weights may not be compared.
    pub otherwise: Option<&'static str>,
}

/// The columns of both.
pub fn columns() -> Vec<Column> {
    vec![Column::with_sub("mIoU", "%"), Column::with_sub("variance", "of the share, over runs")]
}

/// Ours with the published numbers beside, then those that nobody measured here.
pub fn groups(context: &Context, table: &StudyTable) -> Vec<Group> {
    let mut groups = Groups::default();
    let mut done = Vec::new();
    for (measured, fit) in each(context, "segmentation", MIOU.0) {
        let subject = measured.subject;
        let of_study = follows(subject, Source::Study) && table2_dataset(&subject.dataset) == Some("ADE20k");
        let of_paper = heads::recipe_of(fit.head) == Some(Source::Paper);
        if !of_study || of_paper || base(&subject.model) != table.model {
            continue;
        }
        let [miou, variance] = published(context, table, subject.registers);
        let ours = heads::cell(measured, fit, "segmentation", MIOU);
        let spread = Cell { ours: ours.ours.and_then(|v| self::variance(&v)), ..Cell::default() };
        let few = "not comparable: a variance of three runs is known to a factor of a few";
        let as_published = fit.head == table.recipe[0] && fit.settings.contains(table.recipe[1]);
        let otherwise = "not comparable: trained otherwise than the study's";
        let otherwise = table.otherwise.or((!as_published).then_some(otherwise));
        let cells = vec![ours.with(subject, miou, true, otherwise), spread.with(subject, variance, true, Some(few))];
        let row = Row { label: format!("{}, {}", registers(subject.registers), fit.head), cells };
        groups.of(subject, table.label, heads::about_dense(subject, fit)).rows.push(row);
        done.push(subject.registers);
    }
    let rest = context.published.rows(Source::Study, table.published).into_iter().filter_map(|row| {
        let count: usize = row.split('_').next()?.parse().ok()?;
        let [miou, variance] = published(context, table, count);
        let cells = vec![Cell::unmeasured(miou, MIOU.1), Cell::unmeasured(variance, Unit::Number)];
        (!done.contains(&count)).then(|| Row { label: registers(count), cells })
    });
    let rows: Vec<Row> = rest.collect();
    let mut groups = groups.finish();
    if !rows.is_empty() {
        groups.push(Group {
            label: format!("{}, as published", table.label),
            about: vec!["not measured here".to_owned()],
            provenance: None,
            measured: false,
            rows,
        });
    }
    groups
}

/// Published mIoU, with the standard deviation that its variance means, and the variance.
fn published(context: &Context, table: &StudyTable, count: usize) -> [Option<Published>; 2] {
    let row = format!("{count}_register{}", if count == 1 { "" } else { "s" });
    let get = |column| context.published.get(Source::Study, table.published, &row, column);
    let variance = get("variance");
    // Three digits, as its variance has.
    let std = variance.and_then(|v| format!("{:.2e}", 100.0 * v.value.sqrt()).parse().ok());
    [get("mIoU_pct").map(|miou| Published { std, ..miou }), variance]
}

/// The variance over runs, as a share.
fn variance(miou: &Value) -> Option<Value> {
    let std = miou.std? / 100.0;
    Some(Value { value: std * std, std: None, stderr: None, unit: Unit::Number, ..*miou })
}
