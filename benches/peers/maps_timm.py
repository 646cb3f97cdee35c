"""Compares every portrait of a store with timm and scikit-learn: same weights, the pixels of the table `pictures`.

    python maps_timm.py --model dinov2_vits14 --weights W STORE

Reads the table `maps` of the stage `portray`, run after run, and the `pictures` of an extraction of the same images with
the same preprocessing (`meaning.json` of both says so). Models that are changed while they run are change_timm.py's. Norms
and attention (each head, the mean, the root of the sum of squares) are compared with timm's, largest difference; norms may
differ by 1e-4 of themselves, attention by 1e-4. Principal
components are compared with scikit-learn's on timm's features: |cos| of the scores at least 0.9999, shares of the
variance to 1e-4, for one image and for all together. Where two eigenvalues nearly agree their vectors are arbitrary:
components whose eigenvalue is within 2 % of a neighbour's are told and not judged. Exits with 1 when one is out of
tolerance, or when a portrait has no pictures.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.decomposition import PCA

from timm_dinov2 import MODELS, load_model
from trace_timm import MEAN, STD, sites

PATCH = 14
ATTENTION, NORM, COSINE, SHARE = 1e-4, 1e-4, 0.9999, 1e-4


def token(of, patch, prefix):
    if of == "cls":
        return 0
    return 1 + int(of.split("_")[1]) if of.startswith("register_") else prefix + patch


def components(features):
    """Scores, shares, and how far each eigenvalue is from its nearest neighbour, relative."""
    pca = PCA(4, svd_solver="full").fit(features.astype(np.float64))
    values = pca.explained_variance_
    gaps = [min(abs(values[k] - values[j]) / values[k] for j in range(4) if j != k) for k in range(3)]
    return pca.transform(features.astype(np.float64)), pca.explained_variance_ratio_, gaps


def check_component(row, scores, share, gap, where):
    ours = np.array(row["cells"], dtype=np.float64)
    cosine = abs(ours @ scores) / np.linalg.norm(ours) / np.linalg.norm(scores)
    judged = gap > 0.02
    good = abs(row["share_frac"] - share) <= SHARE and (cosine >= COSINE or not judged)
    print(f"{where}: |cos| {cosine:.7f}, share off by {row['share_frac'] - share:+.1e}" + ("" if judged else " (near-equal eigenvalues)"))
    return good and (ours**3).sum() >= 0


def rows_of(folder):
    return [row for part in sorted(folder.glob("*.parquet")) for row in pq.ParquetFile(part).read().to_pylist()]


def meaning_of(folder):
    return json.loads((folder / "meaning.json").read_text())


def pictures_of(folder, store):
    """Pictures by image, of the extraction that saw the images of a portrait as the portrait did."""
    meaning = meaning_of(folder)["meaning"]
    beside = store / "pictures" / folder.relative_to(store / "maps").parent
    for run in sorted({part.parent for part in beside.glob("run=*/*.parquet")}):
        record = meaning_of(run)
        same = all(record["meaning"][key] == meaning[key] for key in ("dataset", "preprocess"))
        if record["stage"] == "extract" and same:
            return {row["image"]: row for row in rows_of(run)}
    return None


def check_run(folder, args):
    maps = rows_of(folder)
    pictures = pictures_of(folder, args.store)
    if pictures is None:
        print("no extraction of this dataset has pictures at the size of the portrait; give both the same preprocessing")
        return False
    missing = sorted({row["image"] for row in maps} - set(pictures))
    if missing:
        print(f"images {missing} have no pictures; write `pictures` as large as `images` of [portray]")
        return False
    prefix = 1 + MODELS[args.model][1]
    traces, worst, good = {}, {}, True
    for image in sorted({row["image"] for row in maps}):
        picture = pictures[image]
        height, width = picture["height_px"], picture["width_px"]
        sizes = {(row["grid_h"] * PATCH, row["grid_w"] * PATCH) for row in maps if row["image"] == image}
        if sizes != {(height, width)}:
            print(f"image {image}: maps of {sizes} px, a picture of {(height, width)} px")
            return False
        model = load_model(args.model, args.weights, height, width)
        rgb = np.frombuffer(picture["rgb"], np.uint8).reshape(height, width, 3).copy()
        pixels = (torch.from_numpy(rgb).permute(2, 0, 1) / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        with torch.no_grad():
            traces[image] = {k: v.numpy() for k, v in sites(model, pixels).items()}
    joint = {}
    for row in maps:
        trace, site = traces[row["image"]], row["site"]
        if row["quantity"] == "component":
            features = trace[site][-row["grid_h"] * row["grid_w"] :]
            if row["of"] == "joint":
                joint.setdefault((site, int(row["part"])), []).append(row)
                continue
            k = int(row["part"])
            scores, shares, gaps = components(features)
            good &= check_component(row, scores[:, k], shares[k], gaps[k], f"image {row['image']} {site} {k}")
            continue
        if row["quantity"] == "norm":
            theirs = np.linalg.norm(trace[site], axis=1)[-row["grid_h"] * row["grid_w"] :]
            difference = np.abs(np.array(row["cells"]) / theirs - 1).max()
        else:
            heads = trace[site][:, token(row["of"], row["patch"], prefix), prefix:]
            part = row["part"]
            theirs = heads.mean(0) if part == "mean" else np.sqrt((heads**2).sum(0)) if part == "l2" else heads[int(part[5:])]
            difference = np.abs(np.array(row["cells"]) - theirs).max()
        key = (row["quantity"], row["of"])
        worst[key] = max(worst.get(key, 0.0), float(difference))
    for (site, k), rows in sorted(joint.items()):
        images = [row["image"] for row in rows]
        features = np.concatenate([traces[i][site][-row["grid_h"] * row["grid_w"] :] for i, row in zip(images, rows)])
        scores, shares, gaps = components(features)
        row = {"cells": sum((row["cells"] for row in rows), []), "share_frac": rows[0]["share_frac"]}
        good &= check_component(row, scores[:, k], shares[k], gaps[k], f"joint {site} {k}")
    for (quantity, of), difference in sorted(worst.items()):
        print(f"{quantity} {of}: largest difference {difference:.1e}")
        good &= difference <= (NORM if quantity == "norm" else ATTENTION)
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--weights", required=True)
    args = parser.parse_args()
    runs = sorted({part.parent for part in args.store.glob(f"maps/model={args.model}/**/*.parquet")})
    # `discover` has maps too, and a changed model under the plain name has other ones than timm's.
    changed = lambda record: {"edit", "test_time_registers"} & set(record["meaning"])
    runs = [run for run in runs if meaning_of(run)["stage"] == "portray" and not changed(meaning_of(run))]
    if not runs:
        sys.exit(f"{args.store} has no portrait of {args.model} as it is")
    results = []
    for run in runs:
        print(run.relative_to(args.store / "maps"))
        results.append(check_run(run, args))
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
