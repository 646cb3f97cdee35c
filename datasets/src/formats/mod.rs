//! How the bytes of a dataset lie on disk, whatever they mean.
//!
//! Opening reads an index and never a picture; every index is sorted bytewise, so its order does not depend on the file
//! system; reading goes by index from any thread. Files are opened anew for each read: sharded datasets have more files
//! than a process may hold open, and an open costs a thousandth of a decode.

pub mod cifar;
pub mod class_folders;
pub mod classes;
pub mod coco;
pub mod flat_folder;
pub mod hf_parquet;
pub mod imagenet_tar;
pub mod listing;
pub mod lists;
pub mod mat5;
pub mod nyu_mat;
pub mod pixel_truth;
pub mod spans;
pub mod tar_index;
pub mod voc_xml;
pub mod webdataset;
