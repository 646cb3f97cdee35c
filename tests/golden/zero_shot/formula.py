"""Weights that two programs can make alike: SplitMix64 of a seed from the name and of the index.

`formula.rs` has the same formula, so that no checkpoint has to be committed.
"""

import math

import numpy as np

MASK = (1 << 64) - 1


def name_seed(name):
    """FNV-1a."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK
    return seed


def uniform(name, count):
    """Values of [-1, 1) with 24 bits, exact in f32."""
    with np.errstate(over="ignore"):
        z = np.uint64(name_seed(name)) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def weight(name, shape):
    """Every norm, bias and position matters; matrices keep the variance of what they are given."""
    u = uniform(name, math.prod(shape))
    if "ln_" in name:
        u = u * np.float32(0.25) + np.float32(1.0 if name.endswith("weight") else 0.0)
    elif len(shape) == 1:
        u = u * np.float32(0.25)
    elif "embedding" in name:
        u = u * np.float32(0.5)
    else:
        u = u * np.float32(math.sqrt(3 / math.prod(shape[1:])))
    return u.reshape(shape)
