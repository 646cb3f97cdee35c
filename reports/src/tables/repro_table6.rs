//! Table 6 of the reproducibility study: segmentation of ADE20K from DeiT-III-S, by number of registers.
//!
//! Protocol: `docs/protocols/repro_table6.md`.

use super::study_segmentation::{StudyTable, columns, groups};
use super::{Context, Spread, Table};

const TABLE: StudyTable = StudyTable {
    id: "repro_table6",
    published: "table6",
    model: "deit3_vits16_224",
    label: "DeiT-III-S",
    recipe: ["deit3_segmentation", "50 epochs"],
    otherwise: Some(
        "not comparable: the study keeps the epoch that is best on the validation images, and does not say which base \
         weights it has",
    ),
};

/// Makes the table.
pub fn build(context: &Context) -> Table {
    Table {
        id: TABLE.id,
        title: "ADE20K from DeiT-III-S by number of registers (after Table 6 of the reproducibility study)".to_owned(),
        caption: "mIoU (%) by the study's protocol: images squashed to a square, classes 0 to 149 as they are labelled. Its \
                  models with registers are fine-tuned in the last block and not released. ± is the standard deviation over \
                  runs that differ in their seeds."
            .to_owned(),
        protocol: "docs/protocols/repro_table6.md",
        stub: "registers",
        columns: columns(),
        groups: groups(context, &TABLE),
        spread: Spread::Draws,
    }
}
