//! SUN397: scenes, with ten partitions of 50 training and 50 test images per class.
//!
//! Source of the layout: <https://vision.princeton.edu/projects/2010/SUN/>. A class is called by its path below the
//! letter, `abbey` or `apartment_building/outdoor`, and its label is its place in `ClassName.txt`. A few files are not
//! the JPEGs that their names say; they are decoded as what they are. The transfer protocol of Kornblith et al. takes the
//! first partition.

use super::{Dataset, TRAIN_TEST, base, below};
use crate::formats::listing::{files_below, is_image};
use crate::formats::lists::{self, Classes, Labelled, List};
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Official;

const LAYOUT: &str = "SUN397/<letter>/<class>/*.jpg, Partitions/{Training,Testing}_{01..10}.txt, with lines \
    `/a/abbey/sun_….jpg` (the lists may lie beside SUN397/), ClassName.txt in SUN397/ or beside the lists";

/// SUN397.
pub const SUN397: Dataset = Dataset {
    name: "sun397",
    about: "SUN397 scenes",
    layout: LAYOUT,
    splits: "all; train, test of partition 1; partition:2:train, …",
    official: TRAIN_TEST,
    partitions: 10,
    open,
};

fn open(spec: &DatasetSpec) -> Result<Box<dyn Source>, DatasetError> {
    base(spec, &[""], "SUN397", LAYOUT)?;
    let names = base(spec, &["SUN397", "Partitions", ""], "ClassName.txt", LAYOUT)?;
    let mut classes = Classes::default();
    for row in List::read(&spec.root.join(names).join("ClassName.txt"), LAYOUT)?.rows(["class"]) {
        let row = row?;
        // "/a/abbey": the letter is not part of the name.
        let name = row.cells[0].strip_prefix('/').and_then(|path| path.split_once('/'));
        let (_, name) = name.ok_or_else(|| row.wrong(format!("{:?} is not /<letter>/<class>", row.cells[0])))?;
        classes.push(name).map_err(|what| row.wrong(what))?;
    }
    let mut images = Vec::new();
    if let Some((part, number)) = spec.split.official() {
        let part = if part == Official::Train { "Training" } else { "Testing" };
        let name = format!("{part}_{number:02}.txt");
        let folder = base(spec, &["Partitions", ""], &name, LAYOUT)?;
        for row in List::read(&spec.root.join(folder).join(name), LAYOUT)?.rows(["image"]) {
            let row = row?;
            let path = row.cells[0].strip_prefix('/').unwrap_or(row.cells[0]);
            let class = class(path).ok_or_else(|| row.wrong(format!("{path:?} lies in no class folder")))?;
            images.push(row.image(below("SUN397", path), row.class(class, &classes)?)?);
        }
    } else {
        let folder = spec.root.join("SUN397");
        for file in files_below(&folder, "")?.into_iter().filter(|file| is_image(&file.name)) {
            let label = class(&file.name).and_then(|class| classes.label(class));
            let stray = || DatasetError::malformed(&folder.join(&file.name), "lies in no folder of ClassName.txt");
            images.push(Labelled::new(below("SUN397", &file.name), label.ok_or_else(stray)?, &folder)?);
        }
    }
    lists::open(&spec.root, images, classes.into_names(), LAYOUT)
}

/// `abbey` of `a/abbey/sun_….jpg`.
fn class(path: &str) -> Option<&str> {
    path.split_once('/')?.1.rsplit_once('/').map(|(class, _)| class)
}
