//! Figure 7 of the reproducibility study: from which layer on is the place of a patch lost?
//!
//! Protocol and where the study's numbers come from: `docs/protocols/repro_fig7.md`.

use super::local::{FLAT_INDEX, LEAST_SQUARES, position_fits};
use super::{Cell, Column, Context, Group, Measured, Row, Spread, Table, Unit, about};
use crate::models::study_column;
use crate::published::Published;
use crate::study::Source;

/// What the notebook behind the study's figure stores: block, accuracy (%) of artifacts, of normal tokens. The figure
/// prints no numbers.
const STORED: [(u32, f64, f64); 5] = [(2, 3.2, 6.0), (3, 0.6, 4.0), (4, 0.0, 1.65), (5, 0.0, 0.65), (11, 0.0, 0.19)];

const KINDS: [(&str, &str); 2] = [("outlier", "artifacts"), ("normal", "normal")];

/// Why no number of ours can agree or differ.
const SAMPLED: &str = "not comparable: fitted on sampled patches, the study on every patch of its images; outliers are \
                       told at one block, the study's at each";

/// Makes the table.
pub fn build(context: &Context) -> Table {
    let mut groups: Vec<Group> = context.measured.iter().flat_map(layers).collect();
    if !groups.iter().flat_map(|g| &g.rows).flat_map(|r| &r.cells).any(|c| !c.beside.is_empty()) {
        groups.push(unmeasured());
    }
    let mut columns: Vec<Column> = KINDS.iter().map(|(_, label)| Column::with_sub(*label, "top-1, %")).collect();
    columns.extend(KINDS.iter().map(|(_, label)| Column::with_sub(*label, "mean distance, cells")));
    Table {
        id: "repro_fig7",
        title: "The place of a patch by least squares, layer by layer (after Figure 7 of the reproducibility study)"
            .to_owned(),
        caption:
            "Linear regression from a token at the output of a block to its row-major index (as the study does for \
                  DeiT-III, clipped and rounded) or to its row and column. ± is the standard error, images taken \
                  as independent."
                .to_owned(),
        protocol: "docs/protocols/repro_fig7.md",
        stub: "site",
        columns,
        groups,
        spread: Spread::StdErr,
    }
}

/// Groups of a subject: one for each way of fitting that was used at several blocks, or to the index at any.
fn layers(measured: &Measured) -> Vec<Group> {
    let mut ways: Vec<(&str, Vec<(u32, &str)>)> = Vec::new();
    for (site, settings) in [FLAT_INDEX, LEAST_SQUARES].iter().flat_map(|way| position_fits(measured, way)) {
        let Some(block) = site.strip_prefix("block_").and_then(|b| b.parse().ok()) else { continue };
        match ways.iter_mut().find(|(way, _)| *way == settings) {
            Some((_, sites)) => sites.push((block, site)),
            None => ways.push((settings, vec![(block, site)])),
        }
    }
    ways.retain(|(way, sites)| sites.len() > 1 || way.starts_with(FLAT_INDEX));
    ways.into_iter()
        .map(|(settings, mut sites)| {
            sites.sort_unstable();
            let rows = sites.iter().map(|&(block, site)| row(measured, block, (site, settings))).collect();
            Group {
                label: format!("{} on {}", measured.subject.model, measured.subject.dataset),
                about: [about(measured.subject, None), vec![format!("fit: {settings}")]].concat(),
                provenance: Some(measured.subject.weights),
                measured: true,
                rows,
            }
        })
        .collect()
}

fn row(measured: &Measured, block: u32, fit: (&str, &str)) -> Row {
    let subject = measured.subject;
    let theirs =
        study_column(&subject.model) == Some("DeiT-III-S") && subject.registers == 0 && fit.1.starts_with(FLAT_INDEX);
    let cell =
        |kind: &str, metric, unit| Cell::scored(subject, measured.scores.fitted("position", kind, metric, fit), unit);
    let mut cells: Vec<Cell> = KINDS
        .iter()
        .map(|(kind, _)| {
            let published = stored(block, kind).filter(|_| theirs);
            cell(kind, "top1_frac", Unit::Share).with(subject, published, true, Some(SAMPLED))
        })
        .collect();
    cells.extend(KINDS.iter().map(|(kind, _)| cell(kind, "mean_distance_cells", Unit::Number)));
    Row { label: format!("block {block}"), cells }
}

fn stored(block: u32, kind: &str) -> Option<Published> {
    let (_, artifact, normal) = STORED.iter().find(|(b, ..)| *b == block)?;
    let value = if kind == "outlier" { *artifact } else { *normal };
    Some(Published { source: Source::Study, value, std: None })
}

fn unmeasured() -> Group {
    let rows = STORED.iter().map(|(block, ..)| {
        let mut cells: Vec<Cell> =
            KINDS.iter().map(|(kind, _)| Cell::unmeasured(stored(*block, kind), Unit::Share)).collect();
        cells.extend([Cell::default(), Cell::default()]);
        Row { label: format!("block {block}"), cells }
    });
    Group {
        label: "DeiT-III-S on CIFAR-10 at 384 px, as stored in the study's notebook".to_owned(),
        about: vec!["not measured here".to_owned()],
        provenance: None,
        measured: false,
        rows: rows.collect(),
    }
}
