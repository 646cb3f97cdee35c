//! CIFAR-10 and CIFAR-100, in their binary version.

use super::{Dataset, TRAIN_TEST, check_root};
use crate::formats::cifar::{self, Layout};
use crate::formats::listing::files_in;
use crate::source::Source;
use crate::spec::{DatasetError, DatasetSpec};
use crate::split::Split;

const LAYOUT_10: &str = "data_batch_1.bin … data_batch_5.bin, test_batch.bin, batches.meta.txt";
const LAYOUT_100: &str = "train.bin, test.bin, fine_label_names.txt";

/// CIFAR-10.
pub const CIFAR10: Dataset = Dataset {
    name: "cifar10",
    about: "CIFAR-10, binary version",
    layout: LAYOUT_10,
    splits: "all, train, test",
    official: TRAIN_TEST,
    partitions: 0,
    open: |spec| open(spec, LAYOUT_10, cifar::CIFAR10, is_batch, ["data_batch_1.bin", "test_batch.bin"]),
};

/// CIFAR-100 with its fine labels.
pub const CIFAR100: Dataset = Dataset {
    name: "cifar100",
    about: "CIFAR-100, binary version, fine labels",
    layout: LAYOUT_100,
    splits: "all, train, test",
    official: TRAIN_TEST,
    partitions: 0,
    open: |spec| open(spec, LAYOUT_100, cifar::CIFAR100, |name| name == "train.bin", ["train.bin", "test.bin"]),
};

fn is_batch(name: &str) -> bool {
    name.strip_prefix("data_batch_").and_then(|rest| rest.strip_suffix(".bin")).is_some()
}

/// Whatever training batches are there: part of the download is a valid subset.
fn open(
    spec: &DatasetSpec,
    layout: &str,
    records: Layout,
    is_train: fn(&str) -> bool,
    [first_train, test]: [&str; 2],
) -> Result<Box<dyn Source>, DatasetError> {
    check_root(&spec.root, layout)?;
    let train = || files_in(&spec.root, is_train);
    let files = match spec.split {
        Split::Test => vec![test.to_owned()],
        Split::Train => train()?,
        _ => {
            let mut files = train()?;
            files.extend(spec.root.join(test).is_file().then(|| test.to_owned()));
            files
        }
    };
    if files.is_empty() {
        return Err(DatasetError::missing(&spec.root.join(first_train), layout));
    }
    cifar::open(&spec.root, &files, records)
}
