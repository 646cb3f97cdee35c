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

/// Eight by eight pixels whose luma block has nothing but `dc`, dequantised by `step`; the chroma is grey.
fn flat_block(dc: i32, step: u8) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0, 0, 16];
    bytes.extend(b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    bytes.extend([&[0xff, 0xdb, 0, 67, 0][..], &[step; 64]].concat());
    bytes.extend([0xff, 0xc0, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    // Differences of 0, 9 and 11 bits are called 00, 01 and 10; the end of a block is called 0.
    bytes.extend([0xff, 0xc4, 0, 22, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 11]);
    bytes.extend([0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    let (name, size) = if dc.abs() < 512 { ("01", 9) } else { ("10", 11) };
    let value = if dc > 0 { dc } else { dc + (1 << size) - 1 };
    // Then the end of the block, and two blocks of chroma without a difference; ones fill the last byte.
    let bits = format!("{:1<24}", format!("{name}{value:0size$b}0000000"));
    let bytes_of_scan = u32::from_str_radix(&bits, 2).unwrap().to_be_bytes();
    assert!(!bytes_of_scan.contains(&0xff), "such a byte would have to be followed by a zero");
    bytes.extend(&bytes_of_scan[1..]);
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// libjpeg looks results up modulo 1024: from 4092 on the rounded result is 512, which wraps around to black.
#[test]
fn flat_blocks_are_taken_up_to_where_libjpeg_wraps_around() {
    for (dc, step, is_taken) in [
        (511, 8, true),
        (341, 12, false),
        (2047, 2, false),
        (1365, 3, false),
        (-1365, 3, true),
        (-2047, 2, true),
        (-410, 10, true),
        (-1026, 4, false),
    ] {
        let bytes = flat_block(dc, step);
        let taken = super::decode(&bytes).map(|image| image.to_rgb());
        assert_eq!(taken.is_some(), is_taken, "{dc} × {step}");
        if let Some(taken) = taken {
            assert_eq!(Ok(taken), by_libjpeg(&bytes), "{dc} × {step}");
        }
    }
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
