//! Pascal VOC's segmentation: the photos that have a mask, and the class of every pixel.
//!
//! A mask is a palette PNG whose indices are the classes, 0 the background; 255 is the border of objects and whatever is
//! hard to call. The splits are the lists of `ImageSets/Segmentation`; without a split, every photo with a mask. Source:
//! the devkit's `devkit_doc.pdf`, section 3.2, <http://host.robots.ox.ac.uk/pascal/VOC/voc2012/>.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Dataset, THREE, base, below};
use crate::formats::listing::files_in;
use crate::formats::lists::{self, List};
use crate::formats::pixel_truth::{Beside, Meaning, names_of, with_pixel_truth};
use crate::formats::voc_xml;
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT: &str = "JPEGImages/*.jpg, SegmentationClass/*.png and ImageSets/Segmentation/{train,val,trainval}.txt; or \
    VOC2012/, VOC2007/ or VOCdevkit/VOC2012/ holding them";
const MASKS: &str = "SegmentationClass";
/// In the order of their numbers.
const CLASSES: [&str; 21] = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// Pascal VOC with masks.
pub const VOC_SEG: Dataset = Dataset {
    name: "voc_seg",
    about: "Pascal VOC photos that have masks, with the class of every pixel (0 to 20, 255 void)",
    layout: LAYOUT,
    splits: "all (every photo with a mask), train, val, trainval, test (= val)",
    official: THREE,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let base = base(spec, &["VOCdevkit/VOC2012", "VOC2012", "VOC2007", ""], MASKS, LAYOUT)?;
    let list = match spec.split {
        Split::Train => Some("train"),
        Split::Val | Split::Test => Some("val"),
        Split::TrainVal => Some("trainval"),
        _ => None,
    };
    let photo = |id: &str| below(base, &format!("JPEGImages/{id}.jpg"));
    let mut names = BTreeSet::new();
    if let Some(list) = list {
        let path = spec.root.join(base).join(format!("ImageSets/Segmentation/{list}.txt"));
        for row in List::read(&path, LAYOUT)?.rows(["image"]) {
            let row = row?;
            names.insert(row.path(photo(row.cells[0]))?);
        }
    } else {
        let masks = files_in(&spec.root.join(base).join(MASKS), |name| id_of(name).is_some())?;
        names.extend(masks.iter().filter_map(|mask| id_of(mask)).map(photo));
    }
    let photos = lists::open_unlabelled(&spec.root, names.into_iter().collect(), LAYOUT)?;
    // `JPEGImages/a.jpg` → `SegmentationClass/a.png`
    let beside = |name: &str| {
        let name = Path::new(name).with_extension("png");
        let name = name.file_name().unwrap_or_default().display();
        below(base, &format!("{MASKS}/{name}"))
    };
    let names = names_of(&*photos, beside);
    let classes = CLASSES.map(str::to_owned).to_vec();
    let beside = Beside { root: spec.root.clone(), names, meaning: Meaning::Classes, classes };
    Ok(with_pixel_truth(voc_xml::with_boxes(&spec.root, photos), beside))
}

/// The id of the photo that a mask is of.
fn id_of(mask: &str) -> Option<&str> {
    mask.strip_suffix(".png")
}
