//! Which of our model and dataset names are the rows and columns of the published tables.

/// A model name without its register suffix: `dinov2_vits14_reg4` → `dinov2_vits14`.
pub fn base(model: &str) -> &str {
    match model.rsplit_once("_reg") {
        Some((base, count)) if count.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => model,
    }
}

/// The column of the study's tables that a model is, with or without registers.
pub fn study_column(model: &str) -> Option<&'static str> {
    match base(model) {
        "dinov2_vitl14" => Some("DINOv2-L"),
        "dinov2_vitg14" => Some("DINOv2-G"),
        "deit3_vits16_384" => Some("DeiT-III-S"),
        _ => None,
    }
}

/// The model of the paper's Tables 1 and 6 and Figure 5.
pub const PAPER_MODEL: &str = "dinov2_vitg14";

/// How the published accuracy of a dataset is averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Average {
    /// Over images.
    Images,
    /// Over classes, of the accuracy within each.
    Classes,
    /// Not an accuracy, or not stated.
    Unknown,
}

/// A dataset of the paper's Tables 1 and 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaperDataset {
    /// Column of the table.
    pub column: &'static str,
    /// Name in full.
    pub name: &'static str,
    /// How its accuracy is averaged.
    pub average: Average,
    /// Our names for it, lower case, letters and digits only.
    aliases: &'static [&'static str],
}

macro_rules! datasets {
    ($($column:literal $name:literal $average:ident [$($alias:literal)+])+) => {
        &[$(PaperDataset { column: $column, name: $name, average: Average::$average, aliases: &[$($alias),+] }),+]
    };
}

/// The datasets of Table 1, in its order.
pub const PAPER_DATASETS: &[PaperDataset] = datasets! {
    "IN1k" "ImageNet-1k" Images ["imagenet" "imagenet1k" "in1k" "ilsvrc2012"]
    "P205" "Places205" Images ["places205"]
    "Airc" "FGVC Aircraft" Classes ["aircraft" "fgvcaircraft"]
    "CF10" "CIFAR-10" Images ["cifar10"]
    "CF100" "CIFAR-100" Images ["cifar100"]
    "CUB" "CUB-200-2011" Images ["cub" "cub200" "cub2002011"]
    "Cal101" "Caltech-101" Classes ["caltech101"]
    "Cars" "Stanford Cars" Images ["cars" "stanfordcars"]
    "DTD" "DTD" Images ["dtd"]
    "Flow" "Oxford Flowers" Classes ["flowers" "flowers102" "oxfordflowers102"]
    "Food" "Food-101" Images ["food101"]
    "Pets" "Oxford Pets" Classes ["pets" "oxfordpets" "oxfordiiitpet" "oxfordiiitpets"]
    "SUN" "SUN397" Images ["sun397"]
    "VOC" "VOC 2007" Unknown ["voc2007" "voc07" "pascalvoc2007"]
};

/// The dataset of Table 1 that ours is.
pub fn paper_dataset(dataset: &str) -> Option<&'static PaperDataset> {
    let plain = plain(dataset);
    PAPER_DATASETS.iter().find(|d| d.aliases.contains(&plain.as_str()))
}

/// A name in lower case, letters and digits only.
fn plain(dataset: &str) -> String {
    dataset.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The dataset of Table 2 that ours, or a part of it for testing, is: `ImageNet`, `ADE20k` or `NYUd`.
pub fn table2_dataset(dataset: &str) -> Option<&'static str> {
    let plain = plain(dataset);
    let plain = ["validation", "val", "test"].iter().find_map(|part| plain.strip_suffix(part)).unwrap_or(&plain);
    match plain {
        "imagenet" | "imagenet1k" | "in1k" | "ilsvrc2012" => Some("ImageNet"),
        "ade20k" | "ade" | "adechallengedata2016" => Some("ADE20k"),
        "nyud" | "nyu" | "nyuv2" | "nyudepth" | "nyudepthv2" => Some("NYUd"),
        _ => None,
    }
}

/// The row of the paper's Tables 2 and 3 that a model of the same family and size is. The authors' own trainings were
/// never released, so that no number of ours is on the same weights.
pub fn trained_row(model: &str, registers: usize) -> Option<&'static str> {
    let name = base(model);
    let rows = if name == "dinov2_vitl14" {
        ["DINOv2", "DINOv2+reg"]
    } else if name.starts_with("deit3_vitb16") {
        ["DeiT-III", "DeiT-III+reg"]
    } else if name.starts_with("openclip_vitb16") {
        ["OpenCLIP", "OpenCLIP+reg"]
    } else {
        return None;
    };
    Some(rows[usize::from(registers > 0)])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::published::PaperTables;
    use crate::study::Source;

    #[test]
    fn every_published_column_has_a_dataset_and_the_order_is_the_papers() {
        let tables = PaperTables::read().unwrap();
        let ours: Vec<&str> = PAPER_DATASETS.iter().map(|d| d.column).collect();
        assert_eq!(ours, tables.columns(Source::Paper, "table1"));
    }

    #[test]
    fn names_that_merely_begin_alike_are_other_datasets() {
        assert_eq!(paper_dataset("CIFAR-10").unwrap().column, "CF10");
        assert_eq!(paper_dataset("cifar-100").unwrap().column, "CF100");
        assert_eq!(paper_dataset("voc2012"), None);
        assert_eq!(paper_dataset(""), None);
    }

    /// Breaks when a part for testing loses its published number, or training images or a longer name get it.
    #[test]
    fn datasets_of_table_2_and_their_test_parts() {
        assert_eq!(
            ["ade20k", "ADE20K-val", "imagenet_val"].map(table2_dataset),
            [Some("ADE20k"), Some("ADE20k"), Some("ImageNet")]
        );
        assert_eq!(["NYU-test", "nyu_depth_v2"].map(table2_dataset), [Some("NYUd"), Some("NYUd")]);
        assert_eq!(["ade20k-train", "imagenet-100", "val", "tiny-imagenet"].map(table2_dataset), [None; 4]);
    }

    #[test]
    fn registers_are_a_suffix() {
        assert_eq!(base("dinov2_vits14_reg4"), "dinov2_vits14");
        assert_eq!(base("my_regular_vit"), "my_regular_vit");
        assert_eq!(study_column("dinov2_vitl14_reg4"), Some("DINOv2-L"));
        assert_eq!(study_column("dinov2_vitl14_swiglu"), None);
        assert_eq!(study_column("deit3_vits16_224"), None);
    }
}
