//! A file loads whole or not at all, and the error says why.

use super::{Tensors, load_file, official, tiny, write};
use crate::error::{Mismatch, VitError};
use crate::weights::{HubAccess, WeightSource, Weights};
use crate::zoo::find;

fn with(edit: impl FnOnce(&mut Tensors)) -> Result<Weights, VitError> {
    let spec = tiny();
    let mut tensors = official(&spec.config);
    edit(&mut tensors);
    let folder = tempfile::tempdir().unwrap();
    load_file(&spec, &write(folder.path(), "model.safetensors", &tensors))
}

fn mismatch(edit: impl FnOnce(&mut Tensors)) -> Mismatch {
    match with(edit) {
        Err(VitError::Mismatch(mismatch)) => *mismatch,
        other => panic!("not a mismatch: {other:?}"),
    }
}

#[test]
fn a_whole_file_loads_with_leftovers_named() {
    let plain = with(|_| ()).unwrap();
    assert_eq!(plain.naming, "official");
    assert!(plain.leftover.is_empty());
    assert_eq!(plain.config, tiny().config);
    let more = with(|t| {
        t.insert("mask_token".into(), (vec![1, 8], vec![0.0; 8]));
        t.insert("head.weight".into(), (vec![2, 8], vec![0.0; 16]));
        t.insert("head.bias".into(), (vec![2], vec![0.0; 2]));
    })
    .unwrap();
    assert_eq!(more.leftover, ["head (2 tensors)", "mask_token"]);
    assert_eq!(more.params, plain.params);
    assert_ne!(more.digest, plain.digest);
    assert_eq!(plain.digest.len(), 64);
}

#[test]
fn missing_unused_and_misshaped_tensors_are_listed() {
    let wrong = mismatch(|t| {
        t.remove("blocks.1.norm2.bias");
        t.insert("blocks.0.attn.q_norm.weight".into(), (vec![4], vec![1.0; 4]));
        t.insert("norm.weight".into(), (vec![9], vec![1.0; 9]));
    });
    assert_eq!(wrong.missing, ["blocks.1.norm2.bias"]);
    assert_eq!(wrong.unused, ["blocks.0.attn.q_norm.weight"]);
    assert_eq!(wrong.misshaped, ["norm.weight: file [9], model [8]"]);
}

#[test]
fn transposed_weights_are_misshaped() {
    let wrong = mismatch(|t| {
        let fc1 = t.get_mut("blocks.0.mlp.fc1.weight").unwrap();
        fc1.0.reverse();
    });
    assert_eq!(wrong.misshaped, ["blocks.0.mlp.fc1.weight: file [8, 16], model [16, 8]"]);
}

#[test]
fn a_block_too_many_is_not_ignored() {
    let wrong = mismatch(|t| {
        t.insert("blocks.2.norm1.weight".into(), (vec![8], vec![1.0; 8]));
    });
    assert_eq!(wrong.unused, ["blocks.2.norm1.weight"]);
}

#[test]
fn the_same_parameter_under_two_names_is_refused() {
    let wrong = mismatch(|t| {
        t.insert("module.norm.weight".into(), (vec![8], vec![1.0; 8]));
    });
    assert_eq!(wrong.unused.len(), 1);
}

#[test]
fn not_a_number_is_found_and_named() {
    for bad in [f32::NAN, f32::INFINITY] {
        let result = with(|t| t.get_mut("blocks.1.mlp.fc2.weight").unwrap().1[5] = bad);
        let Err(VitError::NonFinite { tensor, index, .. }) = result else { panic!("{bad} accepted") };
        assert_eq!((tensor.as_str(), index), ("blocks.1.mlp.fc2.weight", 5));
    }
}

#[test]
fn a_file_with_registers_names_the_right_model() {
    let mut config = find("dinov2_vits14_reg4").unwrap().config;
    config.pos.grid = 2;
    let tensors = official(&config);
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "reg4.pth", &tensors);
    let Err(VitError::Mismatch(wrong)) = load_file(&find("dinov2_vits14").unwrap(), &path) else { panic!("accepted") };
    assert_eq!(wrong.unused, ["register_tokens"]);
    assert_eq!(wrong.fits, ["dinov2_vits14_reg4"]);
    let Err(VitError::Mismatch(wrong)) = load_file(&find("dinov2_vits14_reg8").unwrap(), &path) else {
        panic!("accepted")
    };
    assert_eq!(wrong.misshaped, ["register_tokens: file [4, 384], model [8, 384]"]);
    assert_eq!(wrong.fits, ["dinov2_vits14_reg4"]);
    assert!(load_file(&find("dinov2_vits14_reg4").unwrap(), &path).is_ok());
}

#[test]
fn the_position_grid_is_the_files() {
    let loaded = with(|t| {
        t.insert("pos_embed".into(), (vec![1, 26, 8], vec![0.5; 26 * 8]));
    })
    .unwrap();
    assert_eq!(loaded.config.pos.grid, 5);
    let wrong = mismatch(|t| {
        t.insert("pos_embed".into(), (vec![1, 28, 8], vec![0.5; 28 * 8]));
    });
    assert_eq!(wrong.misshaped, ["pos_embed: file [28, 8], model [10, 8]"]);
}

/// timm folds the CLS row of the positions into the CLS token: what is left is a grid without that row.
#[test]
fn a_folded_cls_row_becomes_zeros() {
    let loaded = with(|t| {
        let table = t.get_mut("pos_embed").unwrap();
        table.0[1] = 9;
        table.1.drain(..8);
    })
    .unwrap();
    let whole = with(|_| ()).unwrap();
    let (table, reference) =
        (loaded.params.get("pos_embed", &[10, 8]).unwrap(), whole.params.get("pos_embed", &[10, 8]).unwrap());
    assert_eq!(table[..8], [0.0; 8]);
    assert_eq!(table[8..], reference[8..]);
}

/// Breaks when q, k and v are stacked in another order than [q | k | v].
#[test]
fn split_projections_are_stacked_in_order() {
    let spec = tiny();
    let whole = with(|_| ()).unwrap();
    let mut tensors = Tensors::new();
    for (name, (shape, values)) in official(&spec.config) {
        let name = name
            .replace("blocks.", "encoder.layer.")
            .replace("patch_embed.proj", "embeddings.patch_embeddings.projection");
        let name = name.replace(".ls1.gamma", ".layer_scale1.lambda1").replace(".ls2.gamma", ".layer_scale2.lambda1");
        let name = name.replace("attn.proj", "attention.output.dense");
        match name.as_str() {
            "cls_token" => tensors.insert("embeddings.cls_token".into(), (shape, values)),
            "pos_embed" => tensors.insert("embeddings.position_embeddings".into(), (shape, values)),
            "norm.weight" | "norm.bias" => tensors.insert(name.replace("norm.", "layernorm."), (shape, values)),
            _ if name.contains("attn.qkv") => {
                for (third, part) in ["query", "key", "value"].into_iter().zip(values.chunks(values.len() / 3)) {
                    let name = name.replace("attn.qkv", &format!("attention.attention.{third}"));
                    let mut shape = shape.clone();
                    shape[0] /= 3;
                    tensors.insert(name, (shape, part.to_vec()));
                }
                None
            }
            _ => tensors.insert(name, (shape, values)),
        };
    }
    let folder = tempfile::tempdir().unwrap();
    let loaded = load_file(&spec, &write(folder.path(), "hf.bin", &tensors)).unwrap();
    assert_eq!(loaded.naming, "Hugging Face DINOv2");
    assert_eq!(loaded.params, whole.params);
    tensors.remove("encoder.layer.1.attention.attention.key.weight");
    let Err(VitError::Mismatch(wrong)) = load_file(&spec, &write(folder.path(), "part.bin", &tensors)) else {
        panic!("accepted")
    };
    assert_eq!(wrong.missing, ["blocks.1.attn.qkv.weight"]);
}

#[test]
fn a_folder_of_shards_is_one_model() {
    let spec = tiny();
    let tensors = official(&spec.config);
    let (first, second): (Tensors, Tensors) =
        tensors.clone().into_iter().partition(|(name, _)| name.starts_with("blocks.0"));
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "model-00001-of-00002.safetensors", &first);
    write(folder.path(), "model-00002-of-00002.safetensors", &second);
    let shard = |name: &str| {
        if first.contains_key(name) { "model-00001-of-00002.safetensors" } else { "model-00002-of-00002.safetensors" }
    };
    let map: std::collections::BTreeMap<&str, &str> = tensors.keys().map(|name| (name.as_str(), shard(name))).collect();
    let index = folder.path().join("model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({ "metadata": {}, "weight_map": map }).to_string()).unwrap();
    assert_eq!(load_file(&spec, folder.path()).unwrap().params, with(|_| ()).unwrap().params);
    std::fs::write(&index, r#"{"weight_map": {"a": "../outside.safetensors"}}"#).unwrap();
    assert!(load_file(&spec, folder.path()).unwrap_err().to_string().contains("not beside it"));
}

#[test]
fn sources_are_parsed() {
    let access = HubAccess { cache_dir: "cache".into(), endpoint: None, token: Some("secret".into()) };
    let shown = |text: &str| {
        WeightSource::parse(text, &access).map(|source| source.to_string()).map_err(|error| error.to_string())
    };
    assert_eq!(shown("hf:facebook/dinov2-small").unwrap(), "hf:facebook/dinov2-small");
    assert_eq!(shown("hf:a/b/sub/model.bin").unwrap(), "hf:a/b/sub/model.bin");
    assert_eq!(shown("weights/m.pth").unwrap(), "weights/m.pth");
    for bad in ["hf:", "hf:facebook", "hf:a//b", "hf:a/../b", "hf:a/b/../../c"] {
        assert!(shown(bad).is_err(), "{bad}");
    }
    assert!(!format!("{access:?}").contains("secret"));
}

#[test]
fn what_is_not_a_weight_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    for (bytes, told) in [
        (&b""[..], "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "before version 1.6"),
        (b"PK\x03\x04 cut short", "truncated zip"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "header"),
        (b"plain text", "neither safetensors"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = load_file(&tiny(), &path).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    assert!(matches!(load_file(&tiny(), &folder.path().join("absent")), Err(VitError::Read { .. })));
    let error = load_file(&tiny(), folder.path()).unwrap_err().to_string();
    assert!(error.contains("model.safetensors"), "{error}");
}
