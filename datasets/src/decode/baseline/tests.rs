//! Held equal to libjpeg, plane by plane and on damaged files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::decode::{Decoded, jpeg};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

/// What libjpeg makes of a file, or its reason.
fn by_libjpeg(bytes: &[u8]) -> Result<crate::Rgb8, &'static str> {
    match jpeg::by_libjpeg(bytes) {
        Ok(Decoded::Rgb(image)) => Ok(image),
        Ok(Decoded::Ycc(image)) => Ok(image.to_rgb()),
        Err(error) => Err(error.reason()),
    }
}

/// Every plain fixture takes this path, and every other kind is left to libjpeg.
#[test]
fn plain_files_are_taken_and_others_left() {
    for name in [
        "rgb420",
        "rgb422",
        "rgb444",
        "rgb440_64",
        "rgb440_37",
        "restart",
        "exif_rotated",
        "low_quality",
        "five_columns",
    ] {
        let bytes = fixture(&format!("{name}.jpg"));
        let image = super::decode(&bytes).unwrap_or_else(|| panic!("{name} was left"));
        assert_eq!(Ok(image.to_rgb()), by_libjpeg(&bytes), "{name}");
    }
    for name in ["progressive", "grey", "cmyk", "ycck", "keep_rgb", "rgb411_40", "one_column", "three_columns"] {
        assert!(super::decode(&fixture(&format!("{name}.jpg"))).is_none(), "{name} was taken");
    }
}

/// Coefficients far beyond what an encoder writes would wrap around differently: they must be left to libjpeg.
#[test]
fn coefficients_out_of_range_are_left() {
    let mut bytes = fixture("rgb420.jpg");
    let table = bytes.windows(2).position(|marker| marker == [0xff, 0xdb]).unwrap();
    bytes[table + 5..table + 5 + 64].fill(255);
    assert!(super::decode(&bytes).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Whatever this path accepts, libjpeg decodes to the same pixels.
    #[test]
    fn what_is_taken_is_what_libjpeg_decodes(
        which in 0..5_usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
        cut in prop::option::of(0.5..1.0_f64),
    ) {
        let mut bytes = fixture(["rgb420.jpg", "rgb422.jpg", "rgb444.jpg", "restart.jpg", "rgb440_37.jpg"][which]);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        bytes.truncate((bytes.len() as f64 * cut.unwrap_or(1.0)) as usize);
        if let Some(image) = super::decode(&bytes) {
            prop_assert!(Ok(image.to_rgb()) == by_libjpeg(&bytes));
        }
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn most_photos_are_taken_and_equal() {
    let Some(real) = std::env::var_os("VITALS_REAL") else {
        eprintln!("skipped: set VITALS_REAL to the folder of real inputs");
        return;
    };
    let folders = std::fs::read_dir(Path::new(&real).join("imagenet/val")).unwrap();
    let photos: Vec<PathBuf> = folders
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|photo| photo.unwrap().path())
        .collect();
    let mut taken = 0;
    for photo in photos.iter().step_by(4) {
        let bytes = std::fs::read(photo).unwrap();
        if let Some(image) = super::decode(&bytes) {
            taken += 1;
            assert_eq!(Ok(image.to_rgb()), by_libjpeg(&bytes), "{}", photo.display());
        }
    }
    assert!(taken * 10 >= photos.len() / 4 * 8, "only {taken} of {}", photos.len() / 4);
}
