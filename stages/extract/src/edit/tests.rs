//! Every rule on grids whose answers can be told by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use super::*;

/// One register, a grid of 2×3; D = 2.
const LAYOUT: Layout = Layout { registers: 1, grid_h: 2, grid_w: 3 };

/// CLS and the register are longer than any patch; patches 1 and 5 are long.
fn stream() -> Vec<f32> {
    let patches = [[1.0, 0.0], [30.0, 40.0], [3.0, -2.0], [0.0, 2.0], [4.0, 6.0], [60.0, 0.0]];
    [vec![900.0, 0.0, 0.0, 800.0], patches.concat()].concat()
}

fn edit(replace: Replace) -> Edit {
    Edit {
        blocks: vec![2],
        select: Select::Norm,
        n: 2,
        replace,
        neighbours: 4,
        then: After::Execute,
        cls_competes: false,
    }
}

/// The patches after the edit, and what becomes of the block.
fn edited(edit: Edit, attention: Option<&[f32]>, donor: Donor) -> (Vec<[f32; 2]>, Then) {
    let mut stream = stream();
    let before = stream.clone();
    let then = Removal { edit, donor }.edit(2, LAYOUT, &mut stream, attention);
    assert_eq!(stream[..4], before[..4], "CLS and registers are never changed");
    (stream[4..].chunks(2).map(|x| [x[0], x[1]]).collect(), then)
}

fn patches(edit: Edit) -> Vec<[f32; 2]> {
    edited(edit, None, Donor::default()).0
}

/// Breaks when a chosen token is made of one that was overwritten before it, of itself, or of a token that is no
/// neighbour: patch 1 is beside 0, 2 and 4; patch 5 beside 2 and 4.
#[test]
fn each_rule_gives_its_closed_form_and_leaves_the_others_alone() {
    for (replace, one, five) in [
        (Replace::Min, [1.0, -2.0], [3.0, -2.0]),
        (Replace::MinNorm, [1.0, 0.0], [3.0, -2.0]),
        (Replace::Mean, [8.0 / 3.0, 4.0 / 3.0], [3.5, 2.0]),
        (Replace::Half, [15.0 + 4.0 / 3.0, 20.0 + 2.0 / 3.0], [31.75, 1.0]),
        (Replace::Zero, [0.0, 0.0], [0.0, 0.0]),
        // Of patches 0, 2, 3 and 4.
        (Replace::Average, [2.0, 1.5], [2.0, 1.5]),
    ] {
        let found = patches(edit(replace));
        for (found, wanted) in [(found[1], one), (found[5], five)] {
            assert!((0..2).all(|i| (found[i] - wanted[i]).abs() < 1e-5), "{replace:?} {found:?} {wanted:?}");
        }
        assert_eq!([found[0], found[2], found[3], found[4]], [[1.0, 0.0], [3.0, -2.0], [0.0, 2.0], [4.0, 6.0]]);
    }
}

/// Breaks when corners are left out, or the chosen neighbour (5 is a corner of 1) is not seen as it was.
#[test]
fn eight_neighbours_have_corners() {
    let all = patches(Edit { neighbours: 8, ..edit(Replace::Mean) });
    // Patch 1 is beside every other patch: (1 + 3 + 0 + 4 + 60)/5, (0 − 2 + 2 + 6 + 0)/5.
    assert!((all[1][0] - 13.6).abs() < 1e-5 && (all[1][1] - 1.2).abs() < 1e-6, "{all:?}");
    // Patch 5 sees 1, 2 and 4.
    assert!((all[5][0] - 37.0 / 3.0).abs() < 1e-5 && (all[5][1] - 44.0 / 3.0).abs() < 1e-5, "{all:?}");
    assert_eq!(neighbours(4, (3, 3), 8), [0, 1, 2, 3, 5, 6, 7, 8]);
    assert_eq!(neighbours(4, (3, 3), 4), [1, 3, 5, 7]);
    assert_eq!(neighbours(0, (1, 1), 8), [] as [usize; 0]);
}

/// Attention over CLS, the register and six patches; CLS and the register lead.
const ATTENTION: [f32; 8] = [0.4, 0.3, 0.01, 0.09, 0.02, 0.08, 0.06, 0.04];

/// Breaks when attention is read with an offset, when registers take places, or when CLS takes none although it competes.
#[test]
fn tokens_are_chosen_by_norm_by_attention_or_by_both() {
    let zeroed = |edit: Edit| -> Vec<usize> {
        let (after, _) = edited(edit, Some(&ATTENTION), Donor::default());
        (0..6).filter(|&p| after[p] == [0.0, 0.0]).collect()
    };
    let with = |select, n| Edit { select, n, ..edit(Replace::Zero) };
    assert_eq!(zeroed(with(Select::Norm, 2)), [1, 5]);
    assert_eq!(zeroed(with(Select::Attention, 2)), [1, 3]);
    assert_eq!(zeroed(with(Select::Both, 2)), [1]);
    assert_eq!(zeroed(with(Select::Both, 100)), [0, 1, 2, 3, 4, 5]);
    assert_eq!(zeroed(Edit { cls_competes: true, ..with(Select::Attention, 2) }), [1]);
}

#[test]
fn a_donor_gives_the_token_of_the_same_place() {
    let tokens: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let donor = |grid, n: usize| Donor { grid, patches: BTreeMap::from([(2, tokens[..2 * n].to_vec())]) };
    let (same, _) = edited(edit(Replace::Donor), None, donor((2, 3), 6));
    assert_eq!((same[1], same[5]), ([2.0, 3.0], [10.0, 11.0]));
    // A grid of 1×3 has one row for both of ours.
    let (other, _) = edited(edit(Replace::Donor), None, donor((1, 3), 3));
    assert_eq!((other[1], other[5]), ([2.0, 3.0], [4.0, 5.0]));
    // Tokens of another block are no tokens of this one.
    let none = Donor { grid: (2, 3), patches: BTreeMap::new() };
    assert_eq!(edited(edit(Replace::Donor), None, none).0[5], [60.0, 0.0]);
}

#[test]
fn the_notebook_skips_blocks_and_asks_for_attention() {
    let notebook = Edit {
        blocks: (20..24).collect(),
        select: Select::Attention,
        n: 15,
        replace: Replace::Half,
        neighbours: 8,
        then: After::Skip,
        cls_competes: true,
    };
    notebook.check(24).unwrap();
    let removal = Removal { edit: notebook.clone(), donor: Donor::default() };
    assert_eq!(removal.before(20), Some(Before { attention: true }));
    assert_eq!(removal.before(19), None);
    let (after, then) = edited(Edit { neighbours: 8, n: 1, ..notebook }, Some(&ATTENTION), Donor::default());
    // CLS takes the one place.
    assert_eq!((after[1], then), ([30.0, 40.0], Then::Skip));
    let norm = Removal { edit: edit(Replace::Zero), donor: Donor::default() };
    assert_eq!(norm.before(2), Some(Before { attention: false }));
}

#[test]
fn what_cannot_be_edited_is_refused() {
    let good = edit(Replace::Min);
    good.check(3).unwrap();
    for (bad, words) in [
        (Edit { blocks: vec![], ..good.clone() }, "edit.blocks"),
        (Edit { n: 0, ..good.clone() }, "edit.n"),
        (Edit { neighbours: 6, ..good.clone() }, "4 (that share"),
        (Edit { blocks: vec![0, 3], ..good.clone() }, "the last is 2"),
        (Edit { replace: Replace::Donor, then: After::Skip, ..good.clone() }, "have been through the blocks"),
    ] {
        let e = bad.check(3).unwrap_err().to_string();
        assert!(e.contains(words), "{e}");
    }
    Edit { replace: Replace::Donor, ..good.clone() }.check(3).unwrap();
    Edit { then: After::Skip, ..good }.check(3).unwrap();
}
