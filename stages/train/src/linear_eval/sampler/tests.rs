//! Orders of samples, held and streamed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use schemas::PartWriter;
use schemas::tables::{Pooled, PooledViews};

use super::*;

static GO_ON: AtomicBool = AtomicBool::new(false);
const SLOTS: [(&str, &str); 2] = [("final", "cls"), ("final", "mean_patch")];

fn slots() -> Vec<(String, &'static str)> {
    SLOTS.map(|(site, pool)| (site.to_owned(), pool)).into()
}

/// `images` images of `width` channels; image i has class i % 3 and the vectors [i, 0 …], [−i, 0 …].
fn write(path: &Path, images: u32, width: usize, skip: Option<u32>) -> Stored {
    let mut writer = PartWriter::<Pooled>::create(path, &[]).unwrap();
    for image in 0..images {
        let mut rows = Pooled::default();
        for (site, pool, value) in
            [("block_0", "cls", 99.0), ("final", "cls", image as f32), ("final", "mean_patch", -(image as f32))]
        {
            if skip == Some(image) && pool == "mean_patch" {
                continue;
            }
            rows.image.push(image);
            rows.site.push(site.into());
            rows.pool.push(pool.into());
            let mut vector = vec![0.0; width];
            vector[0] = value;
            rows.vector.push(&vector);
        }
        writer.write(&mut rows).unwrap();
    }
    writer.finish().unwrap();
    Stored::open(vec![path.to_owned()], false, slots()).unwrap()
}

fn classes(images: u32) -> Classes {
    (0..images).map(|i| (i, Some(i % 3))).collect()
}

/// Images in the order in which they teach.
fn draw(sampler: &mut Sampler<'_>, count: usize) -> Vec<u32> {
    let mut batch = Batch::default();
    sampler.fill(&mut batch, count).unwrap();
    let width = sampler.width;
    let of = batch.x.chunks_exact(2 * width).zip(&batch.classes).map(|(x, class)| {
        assert_eq!((x[width], *class), (-x[0], Some(x[0] as u32 % 3)), "vectors or class of another image");
        x[0] as u32
    });
    of.collect()
}

fn sorted(mut of: Vec<u32>) -> Vec<u32> {
    of.sort_unstable();
    of
}

/// Breaks when a pass leaves an image out or takes one twice, when two passes are alike, or when the streamed order is
/// that of the table. Groups of 32 MiB are 209 rows of 40,000 channels, so every third image lies in two of them.
#[test]
fn every_pass_takes_every_image_once() {
    let folder = tempfile::tempdir().unwrap();
    let stored = write(&folder.path().join("part"), 150, 40_000, None);
    assert_eq!(stored.groups.len(), 3);
    let wanted = classes(140);
    for (buffer, streams) in [(140, false), (60, true), (1, true)] {
        let mut sampler = Sampler::new(&stored, &wanted, 7, buffer, &GO_ON).unwrap();
        assert_eq!((sampler.streams(), sampler.samples, sampler.width), (streams, 140, 40_000));
        let passes: Vec<Vec<u32>> = (0..2).map(|_| draw(&mut sampler, 140)).collect();
        for pass in &passes {
            assert_eq!(sorted(pass.clone()), (0..140).collect::<Vec<_>>());
            assert_ne!(*pass, (0..140).collect::<Vec<_>>());
        }
        assert_ne!(passes[0], passes[1]);
        assert!(sampler.sorted_frac < 0.1);
        // Whoever goes on draws what was drawn.
        let all = passes.concat();
        for at in [1_u64, 140, 200] {
            let mut again = Sampler::new(&stored, &wanted, 7, buffer, &GO_ON).unwrap();
            again.seek(at).unwrap();
            assert_eq!(draw(&mut again, 70)[..], all[at as usize..at as usize + 70], "buffer {buffer}, at {at}");
        }
    }
}

#[test]
fn another_seed_is_another_order_and_a_batch_may_be_longer_than_the_set() {
    let folder = tempfile::tempdir().unwrap();
    let stored = write(&folder.path().join("part"), 10, 2, None);
    let wanted = classes(10);
    let of = |seed| draw(&mut Sampler::new(&stored, &wanted, seed, 10, &GO_ON).unwrap(), 25);
    assert_ne!(of(0), of(1));
    let counts = (0..10).map(|i| of(0).iter().filter(|j| **j == i).count());
    assert!(counts.into_iter().all(|n| n == 2 || n == 3));
}

/// Breaks when augmented views are taken for one another.
#[test]
fn each_view_is_a_sample() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("part");
    let mut rows = PooledViews::default();
    for (image, view) in [(0_u32, 0_u16), (0, 1), (1, 0), (1, 1)] {
        for (site, pool) in SLOTS {
            rows.image.push(image);
            rows.view.push(view);
            rows.site.push(site.into());
            rows.pool.push(pool.into());
            let sign = if pool == "cls" { 1.0 } else { -1.0 };
            rows.vector.push(&[sign * (f32::from(view) * 3.0 + image as f32)]);
        }
    }
    let mut writer = PartWriter::<PooledViews>::create(&path, &[]).unwrap();
    writer.write(&mut rows).unwrap();
    writer.finish().unwrap();
    let stored = Stored::open(vec![path], true, slots()).unwrap();
    let (wanted, mut batch) = (classes(2), Batch::default());
    let mut sampler = Sampler::new(&stored, &wanted, 0, 10, &GO_ON).unwrap();
    sampler.fill(&mut batch, 4).unwrap();
    let firsts = batch.x.chunks_exact(2).map(|x| x[0] as u32).collect();
    assert_eq!((sampler.samples, sorted(firsts)), (4, vec![0, 1, 3, 4]));
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |stored: &Stored, wanted: &Classes| {
        Sampler::new(stored, wanted, 0, 10, &GO_ON).err().map(|e| e.what).unwrap_or_default()
    };
    let lacking = write(&folder.path().join("lacking"), 5, 2, Some(3));
    assert!(
        error(&lacking, &classes(5)).contains("view 0 of image 3 has no `mean_patch`"),
        "{}",
        error(&lacking, &classes(5))
    );
    assert!(error(&lacking, &Classes::new()).contains("nothing can be learned"));
    let other = Stored::open(vec![folder.path().join("lacking")], false, vec![("block_5".into(), "cls")]).unwrap();
    let said = error(&other, &classes(5));
    assert!(said.contains("at site `block_5`; the table has block_0, final"), "{said}");
    let mut rows = Pooled { image: vec![2], site: vec!["final".into()], pool: vec!["cls".into()], ..Pooled::default() };
    rows.vector.push(&[1.0, f32::NAN]);
    let mut writer = PartWriter::<Pooled>::create(&folder.path().join("nan"), &[]).unwrap();
    writer.write(&mut rows).unwrap();
    writer.finish().unwrap();
    let said = error(&Stored::open(vec![folder.path().join("nan")], false, slots()).unwrap(), &classes(5));
    assert!(said.contains("`cls` of image 2 at site `final`"), "{said}");
}

#[test]
fn a_table_in_the_order_of_its_classes_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let stored = write(&folder.path().join("part"), 30, 2, None);
    let wanted: Classes = (0..30).map(|i| (i, Some(i / 10))).collect();
    assert_eq!(Sampler::new(&stored, &wanted, 0, 5, &GO_ON).unwrap().sorted_frac, 27.0 / 30.0);
}
