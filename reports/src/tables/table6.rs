//! Table 6 of the paper: Table 1 with the spread that comes from drawing one token per image at random.
//!
//! Protocol and what the paper leaves open: `docs/protocols/table6.md`.

use super::token_class::columns;
use super::{Context, Spread, Table};

/// Makes the table.
pub fn build(context: &Context) -> Table {
    Table {
        id: "table6",
        title: "How much the choice of the token matters (after Table 6 of Darcet et al.)".to_owned(),
        caption: "Accuracy (%) of logistic regression on a single vector per image, mean over draws of that token. \
                  ± is the standard deviation over draws, as in the paper; [CLS] is not drawn and has none. The \
                  published rows are those of DINOv2 ViT-g/14."
            .to_owned(),
        protocol: "docs/protocols/table6.md",
        stub: "dataset",
        columns: columns(context).into_iter().map(|(_, c)| c).collect(),
        groups: super::table1::filled(context, "table6"),
        spread: Spread::Draws,
    }
}
