//! A part gives back exactly the rows that went in, whatever their number, and its bytes depend on nothing else.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::column::Vectors;
use crate::tables::{Skipped, TokenStats, TokenVectors};

fn vectors(n: usize, dim: usize) -> TokenVectors {
    let mut t = TokenVectors { vector: Vectors::with_dim(dim), ..TokenVectors::default() };
    for i in 0..n {
        t.image.push(i as u32);
        t.site.push("block_11".into());
        t.kind.push(if i % 2 == 0 { "normal" } else { "outlier" }.into());
        t.index.push(i as u16);
        t.row.push((i % 3 > 0).then_some(7));
        t.col.push((i % 3 > 0).then_some(8));
        t.draw.push(0);
        t.norm.push(i as f32 * 0.5);
        t.vector.push(&(0..dim).map(|j| (i * dim + j) as f32 - 3.25).collect::<Vec<_>>());
    }
    t
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn rows_come_back(n in 0usize..700, dim in 1usize..40, cut in 1usize..300) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.parquet");
        let all = vectors(n, dim);
        let mut writer = PartWriter::create(&path, &[("run".into(), "x".into())]).unwrap();
        // Written in two pieces, as a stage would.
        let batch = all.to_batch().unwrap();
        let first = cut.min(n);
        let mut a = TokenVectors::from_batch(&batch.slice(0, first)).unwrap();
        let mut b = TokenVectors::from_batch(&batch.slice(first, n - first)).unwrap();
        writer.write(&mut a).unwrap();
        writer.write(&mut b).unwrap();
        prop_assert_eq!(writer.finish().unwrap().rows, n as u64);
        let back: TokenVectors = read_part(&path).unwrap();
        prop_assert_eq!(back.vector.values(), all.vector.values());
        prop_assert_eq!(back.row, all.row);
        prop_assert_eq!(back.kind, all.kind);
    }

    #[test]
    fn damaged_parts_are_errors(at in 0usize..2000, byte in any::<u8>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.parquet");
        let mut writer = PartWriter::create(&path, &[]).unwrap();
        writer.write(&mut vectors(40, 3)).unwrap();
        writer.finish().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        std::fs::write(&path, &bytes).unwrap();
        // Any answer but a panic: a flipped value inside a page is not detectable.
        let _ = read_part::<TokenVectors>(&path);
        std::fs::write(&path, &bytes[..at]).unwrap();
        prop_assert!(read_part::<TokenVectors>(&path).is_err());
    }
}

#[test]
fn equal_rows_give_equal_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, pieces: usize| {
        let path = dir.path().join(name);
        let mut writer = PartWriter::create(&path, &[]).unwrap();
        let batch = vectors(600, 5).to_batch().unwrap();
        for i in 0..pieces {
            let n = 600 / pieces;
            writer.write(&mut TokenVectors::from_batch(&batch.slice(i * n, n)).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    };
    assert_eq!(write("a", 1), write("b", 1));
    assert_eq!(write("a", 1), write("c", 6));
}

#[test]
fn an_empty_part_is_a_table_and_another_table_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.parquet");
    PartWriter::<Skipped>::create(&path, &[]).unwrap().finish().unwrap();
    assert_eq!(read_part::<Skipped>(&path).unwrap().rows(), 0);
    assert!(matches!(read_part::<TokenStats>(&path), Err(TableError::Version { .. })));
}
