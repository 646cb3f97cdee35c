//! Bytes from strangers: nothing here may panic, loop or allocate without bound, whatever the answer is.

use datasets::{Crop, DecodeError, Filter, Preprocess, Resize, decode};
use proptest::prelude::*;

use crate::{fixture, laid_out, open, tar_of};

const IMAGES: [&str; 12] = [
    "rgb420.jpg",
    "rgb440_37.jpg",
    "progressive.jpg",
    "restart.jpg",
    "cmyk.jpg",
    "grey.jpg",
    "rgb.png",
    "palette.png",
    "grey16.png",
    "lossy.webp",
    "palette.gif",
    "rgb.bmp",
];

/// Positions and values to flip, then where to cut.
pub fn damage() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, f64)> {
    (prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 0..6), 0.0..1.5_f64)
}

pub fn damaged(mut bytes: Vec<u8>, (flips, cut): &(Vec<(prop::sample::Index, u8)>, f64)) -> Vec<u8> {
    for (at, value) in flips {
        let at = at.index(bytes.len());
        bytes[at] ^= value;
    }
    bytes.truncate((bytes.len() as f64 * cut) as usize);
    bytes
}

/// Whatever decodes must be whole, and lazily decoding must agree with decoding.
fn check_decoding(bytes: &[u8]) -> Result<(), TestCaseError> {
    match decode(bytes) {
        Ok(image) => {
            prop_assert_eq!(image.data.len(), image.width * image.height * 3);
            if image.width * image.height < 1 << 20 {
                let preprocess = Preprocess::new(Resize::None, Crop::None, Filter::Bicubic);
                prop_assert_eq!(preprocess.decode_and_apply(bytes).ok(), preprocess.apply(&image).ok());
            }
        }
        Err(error) => prop_assert!(!error.reason().is_empty()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_images(which in 0..IMAGES.len(), damage in damage()) {
        check_decoding(&damaged(fixture(IMAGES[which]), &damage))?;
    }

    #[test]
    fn random_bytes_behind_every_magic_number(which in 0..6_usize, tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let starts: [&[u8]; 6] =
            [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x20\0\0\0WEBP", b"GIF89a", b"BM", b""];
        check_decoding(&[starts[which], &tail].concat())?;
    }

    #[test]
    fn damaged_tars(damage in damage()) {
        let inner = tar_of(&[("n01_1.JPEG", b"abc"), (&"x/".repeat(90), b""), ("n01_2.JPEG", &[1; 700])]);
        let long = format!("{}/1.jpg", "folder".repeat(30));
        let tar = tar_of(&[("0.jpg", b"abc"), ("0.cls", b"3"), (&long, &[5; 600]), ("n01.tar", &inner)]);
        let bytes = damaged(tar, &damage);
        let dir = laid_out(&[("ILSVRC2012_img_train.tar", &bytes)]);
        for (name, split) in [("webdataset", "all"), ("imagenet_tar", "train")] {
            if let Ok(source) = open(name, dir.path(), split) {
                for index in 0..source.manifest().entries.len() {
                    let _ = source.read(index);
                }
            }
        }
    }

    #[test]
    fn damaged_parquet(damage in damage()) {
        let dir = laid_out(&[("x.parquet", &damaged(fixture("hub.parquet"), &damage))]);
        if let Ok(source) = open("hf_parquet", dir.path(), "all") {
            for index in 0..source.manifest().entries.len().min(20) {
                let _ = source.read(index);
            }
        }
    }

    #[test]
    fn cifar_files_of_any_size(bytes in prop::collection::vec(any::<u8>(), 0..7000)) {
        let dir = laid_out(&[("data_batch_1.bin", &bytes)]);
        let _ = open("cifar10", dir.path(), "all");
    }
}

#[test]
fn every_cut_of_a_jpeg_before_its_last_row_is_truncated() {
    for name in ["rgb420.jpg", "grey.jpg", "cmyk.jpg", "restart.jpg", "progressive.jpg"] {
        let whole = fixture(name);
        for length in (3..whole.len() * 9 / 10).step_by(7) {
            let error = decode(&whole[..length]).unwrap_err();
            assert_eq!(error.reason(), "truncated jpeg", "{name} at {length} of {}: {error}", whole.len());
        }
    }
}

#[test]
fn truncated_and_corrupt_rasters_have_their_reasons() {
    let png = fixture("rgb.png");
    assert_eq!(decode(&png[..png.len() / 2]).unwrap_err().reason(), "truncated png");
    let mut corrupt = png.clone();
    corrupt[30] ^= 0xff;
    assert_eq!(decode(&corrupt).unwrap_err().reason(), "corrupt png");
    assert_eq!(decode(b"").unwrap_err(), DecodeError::Empty);
    assert_eq!(decode(b"hello").unwrap_err().reason(), "not an image");
}

/// A header that claims more pixels than Pillow allows is refused before anything is allocated.
#[test]
fn decompression_bombs_are_refused() {
    let mut jpeg = fixture("rgb420.jpg");
    let start = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    jpeg[start + 5..start + 9].copy_from_slice(&[0xf0, 0, 0xf0, 0]);
    assert_eq!(decode(&jpeg).unwrap_err(), DecodeError::TooLarge { width: 61440, height: 61440 });
    let mut bmp = fixture("rgb.bmp");
    bmp[18..26].copy_from_slice(&[0, 0x70, 0, 0, 0, 0x70, 0, 0]);
    assert_eq!(decode(&bmp).unwrap_err().reason(), "too many pixels");
}
