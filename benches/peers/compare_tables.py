"""Whether two sets of tables hold the same: proof that the two sides of a benchmark did the same work.

    python compare_tables.py STORE FOLDER [--tolerance 1e-3]

STORE is a store of `vitals` with one run, FOLDER the output of extract_torch.py. Prints one JSON object; exits with 1 when
rows are missing or a number differs by more than `--tolerance` (1e-3) of its column's largest.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

KEYS = {
    "images": ["image", "name", "width_px", "height_px", "grid_h", "grid_w"],
    "token_stats": ["image", "site", "kind", "index", "row", "col", "outlier"],
    "token_vectors": ["image", "site", "kind", "index", "row", "col", "draw"],
    "token_pixels": ["image", "kind", "index", "draw"],
    "pooled": ["image", "site", "pool"],
}
VALUES = {
    "images": [],
    "token_stats": ["norm", "neighbour_cosine", "neighbour_cosine_position", "cls_attention", "pixel_variance"],
    "token_vectors": ["norm", "vector"],
    "token_pixels": ["pixels"],
    "pooled": ["vector"],
}


def read(folder, table):
    parts = sorted(pathlib.Path(folder, table).rglob("part-*.parquet"))
    if not parts:
        sys.exit(f"{folder} has no part of {table}")
    return pa.concat_tables([pq.ParquetFile(part).read() for part in parts])


def bytes_of(folder, table):
    return sum(part.stat().st_size for part in pathlib.Path(folder, table).rglob("part-*.parquet"))


def numbers(column):
    """A column as f64, nulls as NaN."""
    column = column.combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
        column = column.flatten()
    return column.to_numpy(zero_copy_only=False).astype(np.float64)


def histogram_totals(table):
    """Tokens by site, kind and scale: bins at an edge may differ by a token."""
    grouped = table.group_by(["site", "kind", "scale"]).aggregate([("tokens", "sum")])
    return {tuple(row[key] for key in ("site", "kind", "scale")): row["tokens_sum"] for row in grouped.to_pylist()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("folder")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    arguments = parser.parse_args()
    problems, differences, sizes = [], {}, {}
    for table, keys in KEYS.items():
        ours, theirs = read(arguments.store, table), read(arguments.folder, table)
        if ours.num_rows != theirs.num_rows:
            problems.append(f"{table}: {ours.num_rows} rows against {theirs.num_rows}")
            continue
        for key in keys:
            if not ours[key].combine_chunks().equals(theirs[key].combine_chunks()):
                problems.append(f"{table}.{key} differs")
        for name in VALUES[table]:
            a, b = numbers(ours[name]), numbers(theirs[name])
            if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
                problems.append(f"{table}.{name} differs in shape or nulls")
                continue
            difference = float(np.nanmax(np.abs(a - b)) / max(np.nanmax(np.abs(b)), 1e-12))
            differences[f"{table}.{name}"] = difference
            if difference > arguments.tolerance:
                problems.append(f"{table}.{name} differs by {difference:.2g} of its largest value")
        sizes[table] = {"rows": ours.num_rows, "bytes": bytes_of(arguments.store, table),
                        "peer_bytes": bytes_of(arguments.folder, table)}
    ours, theirs = (histogram_totals(read(f, "norm_histograms")) for f in (arguments.store, arguments.folder))
    if ours != theirs:
        problems.append(f"norm_histograms: {len(ours)} groups against {len(theirs)}, or other totals")
    print(json.dumps({"problems": problems, "differences": differences, "sizes": sizes}))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
