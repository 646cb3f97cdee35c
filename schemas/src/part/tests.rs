//! A part gives back exactly the rows that went in, whatever their number, and its bytes depend on nothing else.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use parquet::file::metadata::RowGroupMetaData;
use proptest::prelude::*;

use super::*;
use crate::column::{Halves, Vectors};
use crate::tables::{Dense, Skipped, TokenStats, TokenVectors};

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
        let batch = all.clone().into_batch().unwrap();
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

/// Breaks when groups are cut where an append happened to end: 600 rows in groups of 64 cross the limit within appends
/// of every size tried.
#[test]
fn equal_rows_give_equal_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let write = |rows: usize| {
        let path = dir.path().join(rows.to_string());
        let mut writer = PartWriter::create(&path, &[]).unwrap();
        writer.group_rows = Some(64);
        let batch = vectors(600, 5).into_batch().unwrap();
        for start in (0..600).step_by(rows) {
            let piece = batch.slice(start, rows.min(600 - start));
            writer.write(&mut TokenVectors::from_batch(&piece).unwrap()).unwrap();
        }
        assert_eq!(writer.finish().unwrap().rows, 600);
        assert_eq!(read_part::<TokenVectors>(&path).unwrap(), vectors(600, 5));
        let groups = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        let groups: Vec<i64> = groups.metadata().row_groups().iter().map(RowGroupMetaData::num_rows).collect();
        assert_eq!(groups, [64, 64, 64, 64, 64, 64, 64, 64, 64, 24]);
        std::fs::read(path).unwrap()
    };
    let whole = write(600);
    for rows in [1, 50, 63, 64, 65, 200] {
        assert!(write(rows) == whole, "appends of {rows} rows");
    }
}

/// Breaks when the length is asked of the path, which another process may have removed by then.
#[test]
fn the_length_is_that_of_the_file_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, unlink: bool| {
        let path = dir.path().join(name);
        let mut writer = PartWriter::create(&path, &[]).unwrap();
        writer.write(&mut vectors(10, 3)).unwrap();
        if unlink {
            std::fs::remove_file(&path).unwrap();
        }
        let written = writer.finish().unwrap();
        assert_eq!(path.exists(), !unlink);
        written
    };
    let written = write("a", false);
    assert_eq!(written.bytes, std::fs::metadata(dir.path().join("a")).unwrap().len());
    assert_eq!(write("b", true), written);
}

/// Breaks when a part without rows loses D: other readers refuse `FixedSizeList[0]` beside `[D]`.
#[test]
fn vectors_keep_their_length_without_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.parquet");
    let mut writer = PartWriter::<TokenVectors>::create(&path, &[]).unwrap();
    writer.write(&mut vectors(0, 7)).unwrap();
    writer.finish().unwrap();
    assert_eq!(read_part::<TokenVectors>(&path).unwrap().vector.dim(), 7);

    // Rows that end on a group leave a remainder of none.
    let mut writer = PartWriter::create(&path, &[]).unwrap();
    writer.group_rows = Some(5);
    writer.write(&mut vectors(5, 7)).unwrap();
    assert_eq!(writer.finish().unwrap().rows, 5);
    assert_eq!(read_part::<TokenVectors>(&path).unwrap(), vectors(5, 7));
}

#[test]
fn an_empty_part_is_a_table_and_another_table_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.parquet");
    PartWriter::<Skipped>::create(&path, &[]).unwrap().finish().unwrap();
    assert_eq!(read_part::<Skipped>(&path).unwrap().rows(), 0);
    assert!(matches!(read_part::<TokenStats>(&path), Err(TableError::Version { .. })));
}

fn maps(rows: usize, bytes: usize) -> Dense {
    let mut t = Dense::default();
    for i in 0..rows {
        t.image.push(i as u32);
        t.view.push(0);
        t.site.push("final".into());
        for column in [&mut t.scaled_h, &mut t.scaled_w, &mut t.y0, &mut t.x0, &mut t.view_h, &mut t.view_w] {
            column.push(7);
        }
        t.mirrored.push(i % 2 == 1);
        for column in [&mut t.pad_top, &mut t.pad_left, &mut t.grid_h, &mut t.grid_w, &mut t.patch_px] {
            column.push(3);
        }
        t.patches.push(Halves(vec![i as u8; bytes + i % 3]));
        t.cls.push(Halves(vec![1, 2]));
    }
    t
}

/// Breaks when groups of feature maps are as large as those of other tables, which a head that reads in random order
/// would pay for on every read; or when the portions of rows decide where groups end.
#[test]
fn feature_maps_lie_in_small_groups_that_are_read_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.parquet");
    let all = maps(11, 1_600_000);
    let write = |portion: usize| {
        let mut writer = PartWriter::create(&path, &[]).unwrap();
        let batch = all.clone().into_batch().unwrap();
        for start in (0..11).step_by(portion) {
            writer.write(&mut Dense::from_batch(&batch.slice(start, portion.min(11 - start))).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        std::fs::read(&path).unwrap()
    };
    let whole = write(11);
    assert!(write(1) == whole && write(3) == whole);
    // As they are: the file is hardly larger than its features, and no smaller.
    assert!((17_600_000..17_700_000).contains(&whole.len()), "{}", whole.len());
    let groups = PartGroups::<Dense>::open(&path).unwrap();
    assert_eq!(groups.rows(), [2, 2, 2, 2, 2, 1]);
    for group in [4, 0, 5, 4] {
        let rows = groups.read(group).unwrap();
        let first = 2 * group;
        assert_eq!(rows.image, (first as u32..(first + 2).min(11) as u32).collect::<Vec<_>>());
        assert_eq!(rows.patches[..], all.patches[first..(first + 2).min(11)]);
    }
    assert_eq!(groups.read(6).unwrap().rows(), 0);
    assert_eq!(groups.column::<Vec<u32>>(3, "image").unwrap(), [6, 7]);
    assert!(groups.column::<Vec<u32>>(3, "imagine").is_err());
    assert!(groups.column::<Vec<u16>>(3, "image").is_err());
    assert!(matches!(PartGroups::<TokenStats>::open(&path), Err(TableError::Version { .. })));
}

/// Groups of equal length, so that bytes of another one would pass for those that are wanted. Breaks when readers share the
/// place in the file at which each of them reads.
#[test]
fn groups_are_read_by_many_threads_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.parquet");
    let mut writer = PartWriter::create(&path, &[]).unwrap();
    writer.write(&mut maps(48, 2_200_000)).unwrap();
    writer.finish().unwrap();
    let groups = PartGroups::<Dense>::open(&path).unwrap();
    assert_eq!(groups.rows(), [1; 48]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let groups = &groups;
            scope.spawn(move || {
                for at in 0..96 {
                    let group = (at * 7 + thread * 11) % 48;
                    let rows = groups.read(group).unwrap();
                    assert_eq!(rows.image, [group as u32]);
                    assert!(rows.patches[0].0.iter().all(|&byte| byte == group as u8), "{group}");
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn damaged_groups_are_errors(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.parquet");
        let mut writer = PartWriter::create(&path, &[]).unwrap();
        writer.write(&mut maps(5, 40)).unwrap();
        writer.finish().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(groups) = PartGroups::<Dense>::open(&path) {
            for group in 0..groups.rows().len() {
                let _ = groups.read(group);
                let _ = groups.column::<Vec<bool>>(group, "mirrored");
            }
        }
    }
}
