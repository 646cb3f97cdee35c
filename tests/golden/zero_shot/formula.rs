//! Weights that two programs can make alike: SplitMix64 of a seed from the name and of the index.
//!
//! `formula.py` has the same formula, so that no checkpoint has to be committed. A module of two tests: that of the text
//! tower in `vit` and `tests/tests/zero_shot.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// Name and shape of each tensor of a file.
pub type Names = Vec<(String, Vec<usize>)>;

/// A list of names that `generate.py` wrote.
pub fn names(list: &str) -> Names {
    let shape = |text: &str| text.split('x').filter_map(|n| n.parse().ok()).collect();
    list.lines().map(|line| line.split_once(' ').unwrap()).map(|(name, s)| (name.to_owned(), shape(s))).collect()
}

/// Values of [-1, 1) with 24 bits, exact in f32.
pub fn uniform(name: &str, count: usize) -> Vec<f32> {
    let fnv = |seed: u64, byte: u8| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    (1..=count as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let mut u = uniform(name, shape.iter().product());
    let (scale, shift) = if name.contains("ln_") {
        (0.25, if name.ends_with("weight") { 1.0 } else { 0.0 })
    } else if shape.len() <= 1 {
        (0.25, 0.0)
    } else if name.contains("embedding") {
        (0.5, 0.0)
    } else {
        ((3.0 / shape[1..].iter().product::<usize>() as f64).sqrt() as f32, 0.0)
    };
    for u in &mut u {
        *u = *u * scale + shift;
    }
    u
}

/// Writes a checkpoint as f32 safetensors.
pub fn write(folder: &Path, names: &Names) -> PathBuf {
    let bytes: BTreeMap<&str, Vec<u8>> = names
        .iter()
        .map(|(name, shape)| (name.as_str(), weight(name, shape).iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let view = |shape: &[usize], name: &str| TensorView::new(Dtype::F32, shape.to_vec(), &bytes[name]).unwrap();
    let path = folder.join("open_clip_model.safetensors");
    let views = names.iter().map(|(name, shape)| (name.as_str(), view(shape, name)));
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path
}
