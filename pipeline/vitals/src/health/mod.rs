//! A health card for any ViT: one study made from a model and a folder of images, and what its tables say of it.

pub mod card;
pub mod places;
pub mod subject;
pub mod verdict;
pub mod words;
