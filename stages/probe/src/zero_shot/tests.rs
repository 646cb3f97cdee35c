//! Closed forms of the logits and ranks, and the stage from tables to scores.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicBool;

use engine::{Plan, RunOptions, Silent, Store, outputs_of};
use schemas::read_part;

use super::*;

/// As many classes as channels, each along its own axis; the projection drops the last channel of an image and exchanges
/// the first two.
fn tables(channels: usize) -> (ClassVectors, Heads) {
    let (mut classes, mut heads) = (ClassVectors::default(), Heads::default());
    let axis = |i: usize, n: usize| (0..n).map(|j| f32::from(u8::from(i == j))).collect::<Vec<f32>>();
    for class in 0..channels {
        classes.class.push(class as u32);
        classes.name.push(format!("c{class}").into());
        classes.templates.push(1);
        classes.vector.push(&axis(class, channels));
    }
    heads.head.push("image_projection".into());
    heads.tensor.push("weight".into());
    heads.shape.push(format!("{channels}x{}", channels + 1).into());
    let from = |e: usize| if e < 2 { 1 - e } else { e };
    heads.values.push((0..channels).flat_map(|e| axis(from(e), channels + 1)).collect());
    (classes, heads)
}

/// Breaks when the projection is turned, the image is not of unit length, or the scale is not 100. The last channel,
/// which the projection drops, must not count to the length.
#[test]
fn logits_are_100_cosines_of_what_is_projected() {
    let (classes, heads) = tables(3);
    let of = Classifier::new(&classes, &heads, None).unwrap();
    let logits = of.logits(&[4.0, 3.0, 0.0, 99.0, 0.0, 0.0, -2.0, 1.0, 0.0, 0.0, 0.0, 5.0], 3).unwrap();
    let want = [60.0, 80.0, 0.0, 0.0, 0.0, -100.0, 0.0, 0.0, 0.0];
    assert!(logits.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{logits}");
    assert_eq!(of.logits(&[1.0; 10], 2), Err(ZeroShotError::Width { found: 5, wanted: 4 }));
}

#[test]
fn equal_logits_go_to_the_lower_class() {
    let logits = ndarray::arr1(&[1.0, 7.0, 7.0, 3.0]);
    let ranks: Vec<_> = (0..5).map(|class| rank(logits.view(), class)).collect();
    assert_eq!(ranks, [Some(3), Some(0), Some(1), Some(2), None]);
}

/// Two classes of one name have one vector and so, to the bit, one logit wherever they stand: the first is the answer.
#[test]
fn of_two_classes_of_one_name_the_second_is_never_right() {
    let vector = |i: u32| (0..48).map(|j| ((i * 31 + j * 7) % 17) as f32 / 17.0 - 0.4).collect::<Vec<f32>>();
    let mut classes = ClassVectors::default();
    for class in 0..1000 {
        let like = if class == 744 { 657 } else { class };
        classes.class.push(class);
        classes.name.push("x".into());
        classes.templates.push(1);
        classes.vector.push(&vector(like));
    }
    let mut heads = Heads::default();
    heads.head.push("image_projection".into());
    heads.tensor.push("weight".into());
    heads.shape.push("48x5".into());
    heads.values.push((0..48 * 5).map(|i| (i % 13) as f32 - 6.0).collect());
    let of = Classifier::new(&classes, &heads, None).unwrap();
    let vectors: Vec<f32> = (0..5 * 100).map(|i| ((i * i) % 23) as f32 - 11.0).collect();
    let logits = of.logits(&vectors, 100).unwrap();
    assert!(logits.rows().into_iter().all(|row| row[657] == row[744] && row[657] != row[656]));
    assert!(logits.rows().into_iter().all(|row| rank(row, 744) >= Some(1)));
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    let (classes, heads) = tables(3);
    let refused = |edit: fn(&mut ClassVectors, &mut Heads)| {
        let (mut classes, mut heads) = (tables(3).0, tables(3).1);
        edit(&mut classes, &mut heads);
        Classifier::new(&classes, &heads, None).err()
    };
    assert!(Classifier::new(&classes, &heads, None).is_ok());
    assert_eq!(refused(|_, h| h.head[0] = "linear".into()), Some(ZeroShotError::NoProjection(3)));
    assert_eq!(refused(|_, h| h.shape[0] = "4x3".into()), Some(ZeroShotError::NoProjection(3)));
    assert_eq!(refused(|_, h| h.shape[0] = "3x9".into()), Some(ZeroShotError::NoProjection(3)));
    assert_eq!(refused(|_, h| h.values[0].truncate(11)), Some(ZeroShotError::NoProjection(3)));
    assert_eq!(refused(|c, _| c.class.reverse()), Some(ZeroShotError::Classes));
}

/// Stands for an extraction and for `embed_classes`: 700 images of 7 classes along their class vectors, with noise, in two
/// parts; one image in ten has no label, and there are vectors of another site and pool that mean nothing.
#[derive(Debug, Clone, Copy)]
struct Planted;

const CLASSES: usize = 7;

impl Stage for Planted {
    fn name(&self) -> &'static str {
        "plant"
    }
    fn version(&self) -> u32 {
        1
    }
    fn inputs(&self) -> Vec<TableRef> {
        vec![]
    }
    fn outputs(&self) -> Vec<TableSpec> {
        TABLES.map(|table| TableSpec { table, partition: vec![("model", "m".into())] }).into()
    }
    fn meaning(&self) -> Canonical {
        Canonical::of(&ZeroShotParams { templates: String::new(), permute_classes: None })
    }
    fn estimate(&self, _: &Sizes) -> Estimate {
        Estimate { items: 700, items_per_shard: 350, ..Estimate::default() }
    }
    fn run(&self, shard: &Shard, io: &mut ShardIo<'_>) -> Result<ShardReport, StageError> {
        let mut words = RandomState::new(shard.index);
        let (mut images, mut pooled) = (Images::default(), Pooled::default());
        for image in shard.items.clone().map(|i| i as u32) {
            let class = image as usize % CLASSES;
            images.image.push(image);
            images.name.push(format!("{image}.png").into());
            images.label.push((image % 10 != 9).then_some(class as i32));
            images.class.push(None);
            images.width_px.push(6);
            images.height_px.push(6);
            images.grid_h.push(3);
            images.grid_w.push(3);
            for (site, pool, signal) in [("block_1", "cls", 0.0), ("final", "cls", 2.0), ("final", "mean_patch", 0.0)] {
                // The projection exchanges the first two channels.
                let at = if class < 2 { 1 - class } else { class };
                let noise = |words: &mut RandomState| words.next_u32() as f32 / u32::MAX as f32 - 0.5;
                let mut vector: Vec<f32> = (0..=CLASSES).map(|_| noise(&mut words)).collect();
                vector[at] += signal;
                pooled.image.push(image);
                pooled.site.push(site.into());
                pooled.pool.push(pool.into());
                pooled.vector.push(&vector);
            }
        }
        let (classes, heads) = if shard.index == 0 { tables(CLASSES) } else { Default::default() };
        io.write(images)?;
        io.write(pooled)?;
        io.write(classes)?;
        io.write(heads)?;
        Ok(ShardReport { items: 350, skipped: 0 })
    }
}

fn scores(permute_classes: Option<u32>) -> Scores {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let tables = outputs_of(&Planted);
    let params = ZeroShotParams { templates: "openai".into(), permute_classes };
    let stage = ZeroShot::new(params, &tables, &tables, vec![("model", "m".into())]).unwrap();
    let output = outputs_of(&stage).remove(0);
    let plan = Plan::new(vec![Box::new(Planted) as Box<dyn Stage>, Box::new(stage)]).unwrap();
    let cancel = AtomicBool::new(false);
    let summary = engine::run(&plan, &store, &RunOptions { cancel: &cancel, progress: &Silent, max_skip_frac: 0.0 });
    assert!(summary.unwrap().failed.is_empty());
    read_part(&store.part(&output, 0)).unwrap()
}

#[test]
fn planted_classes_are_found_and_permuted_ones_are_not() {
    let found = scores(None);
    let of = |s: &Scores, i: usize| (s.metric[i].to_string(), s.value[i].unwrap());
    assert_eq!(found.rows(), 2);
    assert_eq!((&*found.experiment[0], &*found.subject[0], &*found.site[0]), ("zero_shot", "openai", "final"));
    assert_eq!((found.n[0], found.images_without[0], &*found.note[0]), (630, 70, ""));
    let (top1, top5) = (of(&found, 0), of(&found, 1));
    assert_eq!((top1.0.as_str(), top5.0.as_str()), ("accuracy_frac", "top5_accuracy_frac"));
    assert!(top1.1 > 0.99 && top5.1 >= top1.1);

    // A permutation without a fixed point: every image is given the vector of another class.
    let seed =
        (0..100).find(|&seed| RandomState::new(seed).permutation(CLASSES).iter().enumerate().all(|(i, p)| i != *p));
    let control = scores(seed);
    assert!(of(&control, 0).1 < 0.01 && control.note[0].starts_with("control:"), "{control:?}");
}

#[test]
fn a_missing_table_is_named() {
    let tables = outputs_of(&Planted);
    let params = ZeroShotParams { templates: "openai".into(), permute_classes: None };
    let error = ZeroShot::new(params, &tables, &tables[..2], vec![]).unwrap_err();
    assert!(error.to_string().contains("class_vectors"), "{error}");
}
