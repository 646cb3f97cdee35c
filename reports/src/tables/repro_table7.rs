//! Table 7 of the reproducibility study: segmentation of ADE20K from `DINOv2`-L, without and with registers.
//!
//! Protocol: `docs/protocols/repro_table7.md`.

use super::study_segmentation::{StudyTable, columns, groups};
use super::{Context, Spread, Table};

const TABLE: StudyTable = StudyTable {
    id: "repro_table7",
    published: "table7",
    model: "dinov2_vitl14",
    label: "DINOv2-L",
    recipe: ["study_segmentation", "20 epochs"],
    otherwise: None,
};

/// Makes the table.
pub fn build(context: &Context) -> Table {
    Table {
        id: TABLE.id,
        title: "ADE20K from DINOv2-L without and with registers (after Table 7 of the reproducibility study)".to_owned(),
        caption: "mIoU (%) by the study's protocol: images squashed to 518 px, 151 classes with `other` among them, a linear head \
                  of 20 epochs on frozen features. ± is the standard deviation over runs that differ in their seeds."
            .to_owned(),
        protocol: "docs/protocols/repro_table7.md",
        stub: "registers",
        columns: columns(),
        groups: groups(context, &TABLE),
        spread: Spread::Draws,
    }
}
