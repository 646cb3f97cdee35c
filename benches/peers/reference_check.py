"""Compares a finished run of `studies/real.toml` with what PyTorch, timm and scikit-learn gave on the same files.

    VITALS_REAL=/path/to/real vitals run studies/real.toml --store STORE
    VITALS_REAL=/path/to/real python reference_check.py STORE [--probes: of studies/real-probes.toml | --dense: of studies/real-dense.toml]

Reads the store's Parquet files and `reference.json`, `reference.npz` of that folder. Compared are: quantiles of the norms
after every block as reported (`scores`) and again from the single tokens (`token_stats`), medians and maxima photo by
photo, neighbour cosine, CLS attention and first principal component of three photos at two sizes, and the accuracies and objectives of the logistic fits with those of
the true optimum. Accuracies of one random patch per image are other draws than the reference's: they are judged by the
spread of both. Of `real-dense`: CamVid's mIoU and pixel accuracy at two sizes (same recipe, another order of images: ±3
points), that of the most frequent class, and Caltech-101's nearest neighbours. Exits with 1 when a value is missing or out of tolerance.
"""

import argparse
import json
import math
import os
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

RELATIVE = 1e-3
COSINE = 1e-3
ATTENTION = 1e-4
ACCURACY = 0.005
# What another order of images does to a head of CamVid.
RECIPE = 0.03
# |cosine| of the scores of the first component, and its share of the variance.
COMPONENT = 1e-4
SHARE = 1e-3
PHOTOS = "imagenet-photos"
# Name of the probe in the study, preprocessing in the reference.
CIFAR = {"cifar10-unit": "unit", "cifar10-meanstd": "meanstd"}
CALTECH = "caltech101-subset"
# Dataset in the study, preprocessing in the reference.
PORTRAITS = {"three-photos": "eval224", "three-photos-518": "square518"}
LAST = "block_11"


class Store:
    """Finished parts of a store, by table and dataset."""

    def __init__(self, root, model):
        self.root, self.model = pathlib.Path(root), model

    def runs(self, table, dataset):
        """Folders of the runs of one table, oldest first, with their finished parts."""
        folder = self.root / table / f"model={self.model}" / f"dataset={folder_name(dataset)}"
        runs = [sorted(p for p in run.glob("part-*.parquet") if p.with_suffix(".done").exists())
                for run in folder.glob("run=*")]
        return sorted((parts for parts in runs if parts), key=lambda parts: parts[-1].stat().st_mtime)

    def newest(self, table, dataset):
        """The rows of the newest run."""
        runs = self.runs(table, dataset)
        if not runs:
            sys.exit(f"{self.root} has no finished {table} of {self.model} on {dataset}: run studies/real.toml first")
        if len(runs) > 1:
            print(f"note: {len(runs)} runs of {table} on {dataset}, the newest is taken")
        return pa.concat_tables([pq.ParquetFile(part).read() for part in runs[-1]])

    def scores(self, dataset):
        """(experiment, subject, site, metric) → row; of several runs the newest."""
        found = {}
        for parts in self.runs("scores", dataset):
            for part in parts:
                for row in pq.ParquetFile(part).read().to_pylist():
                    found[row["experiment"], row["subject"], row["site"], row["metric"]] = row
        return found


def folder_name(value):
    """How the store writes a dataset's name as a folder."""
    name = "".join(c if c.isalnum() or c in "._-+ " else "_" for c in value).strip(" .")
    return name[:100] or "_"


class Sheet:
    """The comparisons, as rows of a table."""

    def __init__(self):
        self.rows, self.failed = [], 0

    def add(self, what, ours, reference, tolerance, relative=False):
        """One value; ours is None when the store lacks it."""
        if ours is None or not math.isfinite(ours):
            difference, good = math.inf, False
        else:
            difference = abs(ours - reference) / (abs(reference) if relative else 1.0)
            # Half a point of 200 images is one image: it must not fail in the last bit.
            good = difference <= tolerance * (1 + 1e-9)
        self.failed += not good
        shown = "missing" if ours is None else f"{ours:.6g}"
        kind = "relative" if relative else "absolute"
        self.rows.append((what, shown, f"{reference:.6g}", f"{difference:.1e}", f"{tolerance:.1e} {kind}",
                          "ok" if good else "OUT"))

    def add_worst(self, what, ours, reference, tolerance, relative=False):
        """An array: the row shows where it differs most."""
        if ours.shape != reference.shape:
            self.failed += 1
            self.rows.append((what, f"shape {ours.shape}", f"shape {reference.shape}", "", "", "OUT"))
            return
        difference = np.abs(ours - reference) / (np.abs(reference) if relative else 1.0)
        at = np.unravel_index(np.nanargmax(difference) if np.isfinite(difference).all() else np.argmax(~np.isfinite(difference)),
                              difference.shape)
        self.add(f"{what}, worst of {ours.size}", float(ours[at]), float(reference[at]), tolerance, relative)

    def show(self, all_rows):
        header = ("", "ours", "reference", "difference", "tolerance", "")
        shown = [header] + [row for row in self.rows if all_rows or row[-1] != "ok" or "block" not in row[0]]
        widths = [max(len(row[i]) for row in shown) for i in range(len(header))]
        for row in shown:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        hidden = len(self.rows) + 1 - len(shown)
        more = f" ({hidden} rows of single blocks within tolerance not shown; --all shows them)" if hidden else ""
        print(f"{len(self.rows)} comparisons, {self.failed} out of tolerance{more}")


def of_tokens(tokens, photos):
    """Patch and CLS norms of every block and neighbour cosine, from single tokens, photo by photo."""
    site = tokens["site"].combine_chunks().dictionary_encode()
    names, codes = site.dictionary.to_pylist(), site.indices.to_numpy()
    kind = tokens["kind"].combine_chunks()
    patch = np.asarray(pc.equal(kind, "patch"))
    cls = np.asarray(pc.equal(kind, "cls"))
    norm, cosine = tokens["norm"].to_numpy(), tokens["neighbour_cosine"].to_numpy()
    attention = tokens["cls_attention"].to_numpy()
    patches, cls_norms = {}, {}
    for code, name in enumerate(names):
        here = codes == code
        patches[name] = norm[here & patch].reshape(photos, -1)
        cls_norms[name] = norm[here & cls]
    if LAST not in names:
        sys.exit(f"token_stats of {PHOTOS} lacks {LAST}: it has {', '.join(names)}")
    last = codes == names.index(LAST)
    # Every row of a photo holds its tokens in order: CLS, then patches.
    return patches, cls_norms, cosine[last & patch].reshape(photos, -1), attention[last].reshape(photos, -1)


def norms(sheet, store, reference, arrays):
    photos = reference["norms"]["real"]["photos"]
    images = store.newest("images", PHOTOS)
    if images.num_rows != photos:
        sheet.add("photos encoded", images.num_rows, photos, 0.0)
        return
    patches, cls_norms, cosine, attention = of_tokens(store.newest("token_stats", PHOTOS), photos)
    scores = store.scores(PHOTOS)
    for block in reference["norms"]["real"]["blocks"]:
        site = f"block_{block['block']}"
        if site not in patches:
            sheet.add(f"{site} tokens", None, block["median"], RELATIVE)
            continue
        values = patches[site].astype(np.float64)
        median = np.median(values)
        single = {
            "median": median, "p95": np.percentile(values, 95), "p99": np.percentile(values, 99), "max": values.max(),
            "min": values.min(), "cls_median": np.median(cls_norms[site]), "cls_max": cls_norms[site].max(),
        }
        for metric, value in single.items():
            sheet.add(f"{site} {metric}, tokens", float(value), block[metric], RELATIVE, relative=True)
            subject, name = ("cls", metric[4:]) if metric.startswith("cls_") else ("patch", metric)
            row = scores.get(("norms", subject, site, name))
            sheet.add(f"{site} {metric}, scores", row and row["value"], block[metric], RELATIVE, relative=True)
        # A token at the edge may fall on the other side.
        share = float((values > 2 * median).mean())
        sheet.add(f"{site} share above 2 medians", share, block["share_above_2x_median"], 1.5 / values.size)
    largest = max(sheet.rows, key=lambda row: float(row[3]))
    print(f"norms of all blocks: the largest difference is {largest[3]}, of {largest[0]}")
    depth = len(reference["norms"]["real"]["blocks"])
    if any(f"block_{i}" not in patches for i in range(depth)):
        return
    per_image = {name: np.stack([f(patches[f"block_{i}"], axis=1) for i in range(depth)], axis=1)
                 for name, f in (("median", np.median), ("max", np.max))}
    for name, values in per_image.items():
        sheet.add_worst(f"{name} norm by photo", values, arrays[f"norms/{name}_per_image"], RELATIVE, relative=True)

    expected = reference["neighbour_cosine"]["real"]
    values = cosine.astype(np.float64)
    single = {"mean": values.mean(), "median": np.median(values), "std": values.std(),
              "p5": np.percentile(values, 5), "p95": np.percentile(values, 95)}
    for metric, value in single.items():
        sheet.add(f"neighbour cosine {metric}, tokens", float(value), expected[metric], COSINE)
        row = scores.get(("neighbour_cosine", "patch", "patch_embed", metric))
        sheet.add(f"neighbour cosine {metric}, scores", row and row["value"], expected[metric], COSINE)
    sheet.add_worst("neighbour cosine by photo", cosine.mean(axis=1), arrays["cosine/mean_per_image"], COSINE)

    stems = [pathlib.PurePath(name).name for name in images["name"].to_pylist()]
    for key, value in reference["maps"]["real"].items():
        if key.endswith("eval224"):
            at = stems.index(pathlib.PurePath(value["file"]).name)
            sheet.add_worst(f"CLS attention, photo {at}", attention[at], arrays[f"attention/{key}"], ATTENTION)


def portraits(sheet, store, reference, arrays):
    """`maps`: CLS attention of the last block and the first component of each photo."""
    for dataset, size in PORTRAITS.items():
        maps = store.newest("maps", dataset).to_pylist()
        names = {row["image"]: pathlib.PurePath(row["name"]).name for row in store.newest("images", dataset).to_pylist()}
        for key, value in reference["maps"]["real"].items():
            if not key.endswith(size):
                continue
            photo = pathlib.PurePath(value["file"]).name

            def find(**wanted):
                return next((row for row in maps if names.get(row["image"]) == photo
                             and all(row[k] == v for k, v in wanted.items())), None)

            attention = find(quantity="attention", of="cls", part="mean")
            first = find(quantity="component", of="image", part="0")
            if attention is None or first is None:
                sheet.add(f"{photo} {size} maps", None, 0.0, 0.0)
                continue
            # The reference keeps the column of CLS itself.
            sheet.add_worst(f"{photo} {size} CLS attention", np.asarray(attention["cells"]), arrays[f"attention/{key}"][1:], ATTENTION)
            ours, score = np.asarray(first["cells"], np.float64), arrays[f"pca_score/{key}"].astype(np.float64)
            cosine = ours @ score / np.linalg.norm(ours) / np.linalg.norm(score)
            # Signed: both sides turn the component so that its skewness is positive.
            sheet.add(f"{photo} {size} first component, cosine", cosine, 1.0, COMPONENT)
            sheet.add(f"{photo} {size} first component, share", first["share_frac"], value["pca_variance_share"], SHARE)


def fits(sheet, store, reference):
    def logistic(what, scores, key, expected):
        accuracy, objective = (scores.get((*key, metric)) for metric in ("accuracy_frac", "objective_sum"))
        sheet.add(f"{what} accuracy", accuracy and accuracy["value"], expected["accuracy"], ACCURACY)
        sheet.add(f"{what} objective", objective and objective["value"], expected["objective_sum"], RELATIVE, relative=True)

    for dataset, name in CIFAR.items():
        expected, scores = reference["cifar"]["real"][name], store.scores(dataset)
        for subject in ("cls", "mean_patch"):
            logistic(f"CIFAR-10 {name}, {subject}", scores, ("pooled_class", subject, LAST), expected[subject]["optimum"])
        patch = scores.get(("token_class", "normal", LAST, "accuracy_frac"))
        draws = expected["patch_draws"]
        # Two means of a few draws each: three standard errors of their difference.
        count = len(draws["optimum"])
        spread = math.sqrt(draws["std"] ** 2 / count + ((patch and patch["std"]) or 0.0) ** 2 / count)
        sheet.add(f"CIFAR-10 {name}, random patches", patch and patch["value"], draws["mean"], 3 * spread)
    expected = reference["caltech"]["real"]["logistic"]["optimum"]
    logistic("Caltech-101, cls", store.scores(CALTECH), ("pooled_class", "cls", "final"), expected)


def probes(sheet, store, reference):
    """Place and pixels from every patch: `studies/real-probes.toml`."""
    scores = store.scores(PHOTOS)

    def add(what, key, expected, tolerance):
        row = scores.get((*key, LAST, what))
        sheet.add(f"every patch, {key[0]} {what}", row and row["value"], expected, tolerance)

    place, pixels = reference["position"]["real"], reference["pixels"]["real"]
    add("top1_frac", ("position", "normal"), place["top1"], place["stderr"])
    add("mean_distance_cells", ("position", "normal"), place["mean_distance"], 0.01)
    add("blind_distance_cells", ("position", "normal"), place["blind_distance"], 1e-4)
    add("l2_mean", ("pixels", "normal"), pixels["ridge_1"]["l2"], 1e-3)
    add("blind_l2_mean", ("pixels", "normal"), pixels["constant"]["l2"], 1e-3)


def dense(sheet, store, reference):
    """CamVid heads by the fixed recipe, and nearest neighbours on Caltech-101."""
    for dataset, size in {"camvid": "350x476", "camvid-364": "364x476"}.items():
        found = store.scores(dataset)
        ours = lambda subject, metric: (found.get(("segmentation", subject, "final", metric)) or {}).get("value")
        expected = reference["camvid"]["real"][size]["adam"]["full_resolution"]
        sheet.add(f"{dataset} mIoU", ours("cells", "miou_frac"), expected["miou"], RECIPE)
        sheet.add(f"{dataset} pixel accuracy", ours("cells", "accuracy_frac"), expected["pixel_accuracy"], RECIPE)
        majority = reference["camvid"]["real"]["majority"]
        sheet.add(f"{dataset} mIoU of the most frequent class", ours("majority", "miou_frac"), majority["miou"], 1e-6)
        sheet.add(f"{dataset} its accuracy", ours("majority", "accuracy_frac"), majority["pixel_accuracy"], 1e-6)
    row = store.scores("caltech101").get(("knn", "cls", "final", "accuracy_frac_k10")) or {}
    sheet.add("Caltech-101, 10 neighbours", row.get("value"), reference["caltech"]["real"]["knn"]["accuracy"], ACCURACY)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("--probes", action="store_true", help="the store is of studies/real-probes.toml")
    parser.add_argument("--dense", action="store_true", help="the store is of studies/real-dense.toml")
    parser.add_argument("--model", default="dinov2_vits14", help="the model's name in the study")
    parser.add_argument("--all", action="store_true", help="also show every block that is within tolerance")
    arguments = parser.parse_args()
    real = os.environ.get("VITALS_REAL") or parser.error("set VITALS_REAL to the folder of reference.json")
    reference = json.loads(pathlib.Path(real, "reference.json").read_text())
    with np.load(pathlib.Path(real, "reference.npz")) as file:
        arrays = {name: file[name] for name in file.files}
    store, sheet = Store(arguments.store, arguments.model), Sheet()
    if arguments.probes:
        probes(sheet, store, reference)
    elif arguments.dense:
        dense(sheet, store, reference)
    else:
        norms(sheet, store, reference, arrays)
        portraits(sheet, store, reference, arrays)
        fits(sheet, store, reference)
    sheet.show(arguments.all)
    sys.exit(1 if sheet.failed else 0)


if __name__ == "__main__":
    main()
