"""Images per second of LOST as its authors compute it, on features in a file. One thread.

    python lost_torch.py --write FEATURES --rows 24 --columns 32 --width 384 --images 40     writes them
    python lost_torch.py FEATURES --rows 24 --columns 32 --width 384 [--rounds 3]            measures

The steps are those of `object_discovery.py` of valeoai/LOST, in torch and scipy, with a stable sort. Prints one JSON
object; `images_per_sec` is that of the best round.
"""

import argparse
import json
import time

import numpy as np
import scipy.ndimage
import torch

parser = argparse.ArgumentParser()
parser.add_argument("features")
parser.add_argument("--write", action="store_true")
parser.add_argument("--rows", type=int, required=True)
parser.add_argument("--columns", type=int, required=True)
parser.add_argument("--width", type=int, required=True)
parser.add_argument("--images", type=int, default=40)
parser.add_argument("--rounds", type=int, default=3)
given = parser.parse_args()
patches = given.rows * given.columns


def write():
    """A background and a blob of other features in noise: most products are far from 0."""
    random = np.random.default_rng(5)
    ys, xs = np.mgrid[: given.rows, : given.columns]
    images = []
    for _ in range(given.images):
        background, thing = random.normal(size=(2, given.width))
        y, x = random.uniform(0, given.rows), random.uniform(0, given.columns)
        inside = (np.abs(ys - y) < given.rows / 4) & (np.abs(xs - x) < given.columns / 4)
        images.append(np.where(inside[..., None], thing, background) + 0.6 * random.normal(size=(*ys.shape, given.width)))
    np.stack(images).astype("<f4").tofile(given.features)


def lost(features, k_patches=100):
    a = features @ features.T
    centrality = a.clone()
    centrality.fill_diagonal_(0)
    centrality[centrality < 0] = 0
    degree = (centrality > 0).sum(dim=1)
    order = torch.argsort(degree, stable=True)
    seed = order[0]
    candidates = order[:k_patches]
    similar = candidates[a[seed, candidates] > 0]
    m = a[similar].sum(dim=0)
    mask = (m > 0).reshape(given.rows, given.columns).numpy()
    labels, _ = scipy.ndimage.label(mask)
    part = labels[np.unravel_index(int(seed), mask.shape)]
    if part == 0:
        return [0, 0, 0, 0]
    ys, xs = np.where(labels == part)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def measure():
    torch.set_num_threads(1)
    features = torch.from_numpy(np.fromfile(given.features, "<f4").reshape(-1, patches, given.width))
    best, boxes = float("inf"), []
    for _ in range(given.rounds):
        started = time.perf_counter()
        boxes = [lost(image) for image in features]
        best = min(best, time.perf_counter() - started)
    print(json.dumps({"images": len(boxes), "images_per_sec": len(boxes) / best, "boxes": boxes, "torch": torch.__version__}))


write() if given.write else measure()
