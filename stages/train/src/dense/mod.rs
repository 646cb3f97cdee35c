//! Dense heads: segmentation and depth on stored patch features.
