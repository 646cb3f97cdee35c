//! Pascal VOC 2007 as a classification of whole images, in which an image has several classes.
//!
//! `ImageSets/Main/<class>_<part>.txt` says of every image whether it shows the class: 1 yes, −1 no, 0 only objects marked
//! difficult. The class of an image here is the set of what it shows, its names in order and joined by `+`, with `?`
//! behind those that are only difficult: `chair+person?+sofa`. An image that shows none has the empty name. So the probe
//! `multi_label` finds all twenty answers in a name, and `classes = ["cat"]` leaves the images with a cat and nothing
//! else. The sets of both parts are numbered together, whichever is read.
//!
//! Boxes of the objects are known where `Annotations/*.xml` lie beside the photos.
//!
//! The test set has public answers: its archive unpacks into the same folder. Source: the devkit's `devkit_doc.pdf`,
//! section 6.1, <http://host.robots.ox.ac.uk/pascal/VOC/voc2007/>.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Dataset, THREE, base, below};
use crate::formats::listing::files_in;
use crate::formats::lists::{self, List};
use crate::formats::voc_xml;
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Official;

const LAYOUT: &str = "JPEGImages/*.jpg, ImageSets/Main/{train,val,trainval,test}.txt and \
    ImageSets/Main/<class>_{trainval,test}.txt; or VOC2007/ or VOCdevkit/VOC2007/ holding them";
const MAIN: &str = "ImageSets/Main";

/// Pascal VOC 2007.
pub const VOC2007: Dataset = Dataset {
    name: "voc2007",
    about: "Pascal VOC 2007 with the classes of each image (for probes called multi_label)",
    layout: LAYOUT,
    splits: "all, train, val, trainval, test",
    official: THREE,
    partitions: 0,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    let base = base(spec, &["VOCdevkit/VOC2007", "VOC2007", ""], MAIN, LAYOUT)?;
    let main = spec.root.join(base).join(MAIN);
    let asked = spec.split.official().map(|(part, _)| part);
    let annotated = match asked {
        Some(Official::Test) => Official::Test,
        _ => Official::TrainVal,
    };
    // Either archive may be absent, but not the one that is asked for.
    let mut shown = BTreeMap::new();
    for part in [Official::TrainVal, Official::Test] {
        if (part == annotated && asked.is_some()) || main.join(format!("{part}.txt")).is_file() {
            annotations(&main, part, &mut shown)?;
        }
    }
    if shown.is_empty() {
        return Err(DatasetError::missing(&main.join("trainval.txt"), LAYOUT));
    }
    let sets: BTreeSet<&str> = shown.values().map(String::as_str).collect();
    let sets: Vec<&str> = sets.into_iter().collect();
    let label = |id: &str| sets.binary_search(&shown.get(id)?.as_str()).ok().map(|label| label as u32);

    let parts = match asked {
        Some(part) => vec![part],
        None => vec![Official::TrainVal, Official::Test],
    };
    let mut images = Vec::new();
    for part in parts {
        let path = main.join(format!("{part}.txt"));
        if asked.is_none() && !path.is_file() {
            continue;
        }
        for row in List::read(&path, LAYOUT)?.rows(["image"]) {
            let row = row?;
            let id = row.cells[0];
            let label = label(id).ok_or_else(|| row.wrong(format!("image {id:?} is not in {annotated}.txt")))?;
            images.push(row.image(below(base, &format!("JPEGImages/{id}.jpg")), label)?);
        }
    }
    let classes = sets.into_iter().map(str::to_owned).collect();
    Ok(voc_xml::with_boxes(&spec.root, lists::open(&spec.root, images, classes, LAYOUT)?))
}

/// What every image of a part shows.
fn annotations(main: &Path, part: Official, shown: &mut BTreeMap<String, String>) -> Result<(), DatasetError> {
    let list = main.join(format!("{part}.txt"));
    let mut of_part: BTreeMap<String, String> = BTreeMap::new();
    for row in List::read(&list, LAYOUT)?.rows(["image"]) {
        of_part.insert(row?.cells[0].to_owned(), String::new());
    }
    let suffix = format!("_{part}.txt");
    let files = files_in(main, |name| name.ends_with(&suffix))?;
    if files.is_empty() {
        return Err(DatasetError::missing(&main.join(format!("aeroplane{suffix}")), LAYOUT));
    }
    for file in files {
        let class = file.strip_suffix(&suffix).unwrap_or(&file);
        let path = main.join(&file);
        let mut seen = BTreeSet::new();
        let list = List::read(&path, LAYOUT)?;
        for row in list.rows(["image", "1, 0 or -1"]) {
            let row = row?;
            let [id, answer] = row.cells;
            let mark = match answer {
                "1" => Some(""),
                "0" => Some("?"),
                "-1" => None,
                _ => return Err(row.wrong(format!("{answer:?} is not 1, 0 or -1"))),
            };
            let classes = of_part.get_mut(id);
            let classes = classes.ok_or_else(|| row.wrong(format!("image {id:?} is not in {part}.txt")))?;
            if !seen.insert(id) {
                return Err(row.wrong(format!("image {id:?} is listed twice")));
            }
            if let Some(mark) = mark {
                let join = if classes.is_empty() { "" } else { "+" };
                *classes += &format!("{join}{class}{mark}");
            }
        }
        if seen.len() != of_part.len() {
            let what = format!("has {} of the {} images of {part}.txt", seen.len(), of_part.len());
            return Err(DatasetError::malformed(&path, what));
        }
    }
    shown.extend(of_part);
    Ok(())
}
