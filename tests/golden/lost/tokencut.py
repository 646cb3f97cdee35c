"""Writes `tokencut.json`: what TokenCut finds on the features of `found.json`, by its own steps in numpy and scipy.

The steps are those of the authors' `object_discovery.py` (`ncut`, `detect_box`) with its defaults tau = 0.2, eps = 1e-5. Images
whose answer rounding could change are left out: a cosine at the threshold, a value at the mean, two equal largest values, an
eigenvalue that is nearly the next one's.

    pip install scipy==1.17.1 numpy==2.4.6
"""

import json
from pathlib import Path

import numpy as np
import scipy.ndimage
from scipy.linalg import eigh

TAUS, EPS = [0.2, 0.4], 1e-5
HERE = Path(__file__).parent


def ncut(features, rows, columns, tau):
    f = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    cosines = f.astype(np.float32) @ f.astype(np.float32).T
    a = np.where(cosines > np.float32(tau), 1.0, EPS)
    d = np.diag(a.sum(axis=1))
    values, vectors = eigh(d - a, d, subset_by_index=[1, 2])
    second = vectors[:, 0]
    mean = second.sum() / len(second)
    part = second > mean
    seed = int(np.argmax(np.abs(second)))
    if not part[seed]:
        part = ~part
    labels, _ = scipy.ndimage.label(part.reshape(rows, columns))
    ys, xs = np.where(labels == labels[np.unravel_index(seed, (rows, columns))])
    sizes = np.sort(np.abs(second))
    scale = sizes[-1]
    off = np.abs(cosines - np.float32(tau))[~np.eye(len(f), dtype=bool)]
    sure = (
        off.min() > 2e-5
        and np.abs(second - mean).min() > 1e-7 * scale
        and sizes[-1] - sizes[-2] > 1e-6 * scale
        and values[1] - values[0] > 1e-4
    )
    box = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
    turned = second - mean if second[seed] > mean else mean - second
    return {"seed": seed, "size": int(part.sum()), "box": box, "vector": [float(f"{x:.7g}") for x in turned / np.abs(turned).max()]}, sure


def main():
    found, unsure = [], 0
    for image in json.loads((HERE / "found.json").read_text())["images"]:
        features = np.array(image["features"], dtype=np.float32).reshape(-1, image["width"])
        rows = len(features) // image["columns"]
        for tau in TAUS:
            one, sure = ncut(features, rows, image["columns"], tau)
            unsure += not sure
            if sure:
                found.append({"name": image["name"], "tau": tau, **one})
    (HERE / "tokencut.json").write_text(json.dumps(found, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")
    print(len(found), "cases,", unsure, "left out")


if __name__ == "__main__":
    main()
