//! A text tower loads whole or not at all, under the names of both code bases.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::TextHeader;
use crate::config::Activation;
use crate::error::VitError;
use crate::text::tests::formula::{Names, names};
use crate::text::tests::golden;
use crate::weights::checkpoint::{Checkpoint, Element, Stored, dense_strides};

/// A file with these tensors, of which nothing is read.
fn header(names: &Names) -> Result<TextHeader, VitError> {
    let stored = |shape: &Vec<usize>| Stored {
        file: 0,
        offset: 0,
        element: Element::F32,
        strides: dense_strides(shape),
        shape: shape.clone(),
    };
    let tensors: BTreeMap<String, Stored> = names.iter().map(|(name, shape)| (name.clone(), stored(shape))).collect();
    TextHeader::of(Checkpoint { tensors, ..Checkpoint::default() }, Activation::Gelu)
}

fn error(names: &Names) -> String {
    match header(names) {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    }
}

/// Breaks when a name of the published architecture is unknown, or a size is read from the wrong axis.
#[test]
fn the_tower_of_open_clips_vit_b_16_is_read_whole() {
    let found = header(&names(golden!("vit_b_16.txt"))).unwrap();
    let config = &found.config;
    assert_eq!((config.depth, config.width, config.heads, config.mlp.hidden), (12, 512, 8, 2048));
    assert_eq!((config.context, config.vocabulary, config.embedding, config.image_width), (77, 49408, 512, 768));
    // Counted by OpenCLIP: 149,620,737 less the image tower with its projection and the scale of the loss.
    let parameters: usize = config.parameters().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    assert_eq!(parameters, 149_620_737 - 86_192_640 - 1 + 768 * 512);
    assert_eq!(found.naming, "OpenCLIP");
}

#[test]
fn hugging_face_names_are_the_same_tower() {
    let (hf, open_clip) =
        (header(&names(golden!("hf_clip.txt"))).unwrap(), header(&names(golden!("tiny.txt"))).unwrap());
    assert_eq!(hf.config, open_clip.config);
    assert_eq!(hf.naming, "Hugging Face CLIP");
    let qkv = hf.plan.iter().find(|(name, ..)| name == "blocks.1.attn.qkv.weight").unwrap();
    let parts: Vec<&str> =
        qkv.2.iter().filter_map(|part| part.rsplit_once("self_attn.")).map(|(_, tail)| tail).collect();
    assert_eq!(parts, ["q_proj.weight", "k_proj.weight", "v_proj.weight"]);
}

#[test]
fn a_model_without_a_text_tower_says_so() {
    let all = names(golden!("tiny.txt"));
    let image_only: Names = all.iter().filter(|(name, _)| name.starts_with("visual.")).cloned().collect();
    let dinov2 = vec![("cls_token".to_owned(), vec![1, 1, 8])];
    for of in [image_only, dinov2, Names::new()] {
        assert!(error(&of).contains("no text encoder"), "{}", error(&of));
    }
}

#[test]
fn what_is_missing_unknown_or_misshaped_is_listed() {
    let all = names(golden!("tiny.txt"));
    let without = |gone: &str| -> Names { all.iter().filter(|(name, _)| name != gone).cloned().collect() };
    for gone in ["ln_final.bias", "transformer.resblocks.1.mlp.c_fc.weight"] {
        assert!(error(&without(gone)).contains("1 missing"), "{}", error(&without(gone)));
    }
    for gone in ["visual.proj", "text_projection", "positional_embedding", "transformer.resblocks.0.mlp.c_fc.weight"] {
        assert!(error(&without(gone)).contains("both projections"), "{}", error(&without(gone)));
    }
    let mut more = all.clone();
    more.push(("transformer.resblocks.0.ln_attn.weight".to_owned(), vec![128]));
    assert!(error(&more).contains("1 unused: transformer.resblocks.0.ln_attn.weight"), "{}", error(&more));
    let mut turned = all.clone();
    turned.iter_mut().find(|(name, _)| name == "text_projection").unwrap().1.reverse();
    assert!(error(&turned).contains("misshaped"), "{}", error(&turned));
    let mut odd = all.clone();
    odd.iter_mut().find(|(name, _)| name == "positional_embedding").unwrap().1[1] = 100;
    assert!(error(&odd).contains("multiple of 64"), "{}", error(&odd));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Breaks when a shape or number of a corrupt file is computed with before it is checked: absurd sizes of any
    /// tensors end in an error, or in a plan that the file's own shapes pay for.
    #[test]
    fn absurd_shapes_and_block_numbers_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<usize>(), 0..4)), 1..6),
        block in any::<u64>(),
        hf in any::<bool>(),
    ) {
        let mut all = names(if hf { golden!("hf_clip.txt") } else { golden!("tiny.txt") });
        for (at, shape) in edits {
            let at = at.index(all.len());
            all[at].1 = shape;
        }
        let from = if hf { "layers.1." } else { "resblocks.1." };
        let to = from.replace('1', &block.to_string());
        for (name, _) in &mut all {
            *name = name.replace(from, &to);
        }
        if let Ok(found) = header(&all) {
            prop_assert!(found.config.parameters().len() == found.plan.len());
        }
    }
}
