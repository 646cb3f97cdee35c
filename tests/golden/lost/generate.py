"""Writes `found.json`: what LOST finds on made-up features, by its own steps in numpy and scipy.

The steps are those of the authors' `object_discovery.py` (patch_scoring, seed expansion, detect_box), with a bias added to
the matrix first and a stable sort; features are given with few digits so that the file is small and exact in f32. No
product may lie so close to a threshold that rounding could decide, unless the features are whole numbers and the bias is of quarters.
"""

import json
from pathlib import Path

import numpy as np
import scipy.ndimage

BIASES = [-1.0, -0.8, -0.5, -0.25, -0.1, 0.0, 0.5]
MARGIN = 2e-5


def lost(features, rows, columns, bias, k_patches):
    a = features @ features.T + np.float32(bias)
    others = a.copy()
    np.fill_diagonal(others, 0)
    others[others < 0] = 0
    degree = (others > 0).sum(axis=1)
    order = np.argsort(degree, kind="stable")
    seed = order[0]
    candidates = order[:k_patches]
    similar = candidates[a[seed, candidates] > 0.0]
    m = a[similar].astype(np.float64).sum(axis=0)
    labels, _ = scipy.ndimage.label(m.reshape(rows, columns) > 0.0)
    part = labels[np.unravel_index(seed, (rows, columns))]
    box = None
    if part != 0:
        ys, xs = np.where(labels == part)
        box = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
    exact = np.array_equal(features, np.rint(features)) and bias * 4 == round(bias * 4)
    sure = exact or (np.abs(a).min() > MARGIN and np.abs(m).min(initial=1.0) > MARGIN)
    found = {"seed": int(seed), "degree": int(degree[seed]), "similar": len(similar), "box": box}
    return found, sure


def blob(rng, rows, columns, width):
    """A background and a blob of other features, with noise: an image in small."""
    background, thing = rng.normal(size=(2, width))
    y, x = rng.uniform(0, rows), rng.uniform(0, columns)
    ys, xs = np.mgrid[:rows, :columns]
    inside = (np.abs(ys - y) < rows / 4) & (np.abs(xs - x) < columns / 3)
    f = np.where(inside[..., None], thing, background) + 0.6 * rng.normal(size=(rows, columns, width))
    return np.round(f.reshape(-1, width), 3)


def whole(rng, rows, columns, width):
    """Whole numbers, many of them 0: degrees tie, products and sums are often exactly 0."""
    return rng.integers(-1, 2, size=(rows * columns, width)).astype(float)


def main():
    rng = np.random.default_rng(2021)
    images, unsure = [], 0
    shapes = [(6, 9, 8), (9, 6, 8), (7, 7, 6), (11, 13, 8), (1, 12, 4), (12, 1, 4), (10, 10, 4), (12, 12, 6)]
    for kind in (blob, whole):
        for rows, columns, width in shapes:
            for repeat in range(2):
                features = kind(rng, rows, columns, width).astype(np.float32)
                found = []
                for l2 in (False, True):
                    f = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12) if l2 else features
                    f = f.astype(np.float32)
                    for bias in BIASES:
                        k_patches = 100 if repeat == 0 else 20
                        one, sure = lost(f, rows, columns, bias, k_patches)
                        if sure:
                            found.append({"l2": l2, "bias": bias, "k_patches": k_patches, **one})
                        else:
                            unsure += 1
                name = f"{kind.__name__} {rows}x{columns} {repeat}"
                # The shortest decimals that are these very f32.
                images.append({
                    "name": name, "columns": columns, "width": width,
                    "features": [float(str(x)) for x in features.ravel()], "found": found,
                })
    text = json.dumps({"images": images}, separators=(",", ":")).replace('{"name"', '\n{"name"').replace(".0,", ",")
    (Path(__file__).parent / "found.json").write_text(text + "\n")
    cases = [one for image in images for one in image["found"]]
    print(len(cases), "cases,", sum(c["box"] is None for c in cases), "without a box,", unsure, "left out")


if __name__ == "__main__":
    main()
