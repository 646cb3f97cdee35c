//! DINOv2 linear evaluation: many linear classifiers at once on stored whole-image vectors.
