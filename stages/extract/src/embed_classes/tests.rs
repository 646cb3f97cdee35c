//! Class vectors of a made-up text tower, names and templates. The numbers themselves are held to `open_clip`'s in
//! `stages/vit/src/text/tests.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use engine::run::{RunOptions, run};
use engine::{Plan, Silent, Store, outputs_of};
use schemas::Table;
use vit::text::VOCABULARY;
use vit::{Activation, Mlp, Params};

use super::*;

/// A tower of one block, weights without a pattern.
fn weights() -> TextWeights {
    let config = TextConfig {
        depth: 1,
        width: 64,
        heads: 1,
        mlp: Mlp { hidden: 64, activation: Activation::Gelu },
        context: 77,
        vocabulary: VOCABULARY,
        embedding: 8,
        image_width: 4,
    };
    let mut params = Params::default();
    let mut state = 1_u32;
    for (name, shape) in config.parameters() {
        let value = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        params.insert(name, shape.clone(), (0..shape.iter().product::<usize>()).map(value).collect());
    }
    TextWeights { config, params }
}

fn stage(classes: &[String], threads: usize) -> EmbedClasses {
    let params = EmbedClassesParams {
        text: weights().config,
        weights: "w".into(),
        classes: classes.to_vec(),
        templates: vec!["a photo of a {}.".into(), "the {}".into()],
    };
    EmbedClasses {
        model: "tiny".into(),
        open: Arc::new(|| Ok(weights())),
        params,
        partition: vec![("model", "tiny".into())],
        device: DeviceChoice::Cpu(None),
        threads,
    }
}

fn read<T: Table>(store: &Store, outputs: &[TableRef]) -> T {
    let table = outputs.iter().find(|t| t.table == T::NAME).unwrap();
    let mut all = T::default();
    for part in store.parts(table).unwrap() {
        all.append(&mut schemas::read_part(&part).unwrap());
    }
    all
}

fn made(stage: EmbedClasses) -> Result<(ClassVectors, Heads), engine::StageError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let outputs = outputs_of(&stage);
    let plan = Plan::new(vec![Box::new(stage) as Box<dyn Stage>]).unwrap();
    let options = RunOptions { cancel: &AtomicBool::new(false), progress: &Silent, max_skip_frac: 0.0 };
    let summary = run(&plan, &store, &options)?;
    if let Some(failed) = summary.failed.into_iter().next() {
        return Err(failed.2);
    }
    Ok((read(&store, &outputs), read(&store, &outputs)))
}

/// Breaks when a class is lost between threads or shards, or gets the vector of another.
#[test]
fn classes_keep_their_order_over_threads_and_shards() {
    let classes: Vec<String> = (0..300).map(|i| format!("thing {}", i % 290)).collect();
    let (vectors, heads) = made(stage(&classes, 3)).unwrap();
    assert_eq!(vectors.class, (0..300).collect::<Vec<u32>>());
    assert!(vectors.name.iter().zip(&classes).all(|(a, b)| **a == **b) && vectors.templates == vec![2; 300]);
    // The second name of 290 is the same text, so the same vector; its neighbour is not.
    assert_eq!(vectors.vector.row(3), vectors.vector.row(293));
    assert_ne!(vectors.vector.row(3), vectors.vector.row(4));
    let encoder = TextEncoder::new(&weights(), &DeviceChoice::Cpu(None)).unwrap();
    let direct = class_vector(&encoder.embed(&["a photo of a thing 7.", "the thing 7"]).unwrap()).unwrap();
    assert_eq!(vectors.vector.row(7), direct);
    // One projection, though there are two shards.
    assert_eq!((&*heads.head[0], &*heads.tensor[0], &*heads.shape[0]), ("image_projection", "weight", "8x4"));
    assert_eq!((heads.rows(), heads.values[0].as_slice()), (1, weights().image_projection().unwrap()));
}

#[test]
fn a_model_without_a_text_tower_stops_with_a_sentence() {
    let mut image_only = stage(&["cat".into()], 1);
    image_only.open = Arc::new(|| Err(VitError::NoText { path: "w.pth".into(), marks: "x".into() }));
    let error = made(image_only).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Missing);
    assert!(error.to_string().contains("no text encoder"), "{error}");
}

#[test]
fn templates_and_names_are_the_published_ones() {
    let openai = templates("openai").unwrap();
    assert_eq!(
        (openai.len(), openai[0].as_str(), openai[79].as_str()),
        (80, "a bad photo of a {}.", "a tattoo of the {}.")
    );
    assert!(openai.iter().chain(&templates("simple").unwrap()).all(|t| t.matches(PLACE).count() == 1));
    assert!(templates("simple").unwrap().iter().all(|t| openai.contains(t)));
    assert!(templates("opneai").unwrap_err().to_string().contains("openai"));

    let ids: Vec<String> = IMAGENET.lines().map(|l| l.split_once(' ').unwrap().0.to_owned()).collect();
    assert!(ids.len() == 1000 && ids.is_sorted());
    let names = class_names(&ids);
    assert_eq!((names[0].as_str(), names[999].as_str()), ("tench", "toilet paper"));
    // The two pairs of one name in the published list.
    assert!(names[657] == names[744] && names[836] == names[837]);
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 998);
    let own = ["n01440764".to_owned(), "sea_horse".to_owned(), "cat".to_owned()];
    assert_eq!(class_names(&own), ["tench", "sea horse", "cat"]);
}

#[test]
fn what_makes_no_classifier_is_refused() {
    let with = |edit: fn(&mut EmbedClassesParams)| {
        let mut params = stage(&["cat".into()], 1).params;
        edit(&mut params);
        params.check()
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(with(|p| p.classes.clear()), Err(EmbedClassesError::Nothing("classes")));
    assert_eq!(with(|p| p.templates.clear()), Err(EmbedClassesError::Nothing("templates")));
    assert_eq!(with(|p| p.templates.push("a cat".into())), Err(EmbedClassesError::NoPlace("a cat".into())));
}
