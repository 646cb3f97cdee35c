"""How far the scores of two stores are apart, as a Markdown table. Needs the standard library only.

    python3 benches/compare_stores.py --vitals target/release/vitals STORE OTHER

Run one study twice, into two stores, with one thing changed (`precision`, a machine, a version). Scores are matched by
model, dataset, experiment, subject, site and metric; for each metric the largest change is shown with where it is.
"""

import argparse
import collections
import json
import subprocess

KEYS = ["model", "dataset", "experiment", "subject", "site", "metric"]
# Facts of a fit rather than results.
FITS = {"objective_sum", "gradient_norm", "gradient_rounding_norm"}


def scores(vitals, store):
    sql = f"SELECT {', '.join(KEYS)}, value FROM scores"
    printed = subprocess.run([vitals, "query", sql, "--store", store, "--format", "json"], check=True, capture_output=True)
    return {tuple(row[key] for key in KEYS): row["value"] for row in json.loads(printed.stdout)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vitals", default="vitals")
    parser.add_argument("store")
    parser.add_argument("other")
    given = parser.parse_args()
    one, other = scores(given.vitals, given.store), scores(given.vitals, given.other)
    changes = collections.defaultdict(list)
    alone = len(one.keys() ^ other.keys())
    for key in one.keys() & other.keys():
        a, b = one[key], other[key]
        if (a is None) != (b is None):
            alone += 1
        elif a is not None and key[5] not in FITS:
            changes[key[2], key[5]].append((abs(a - b), key, a, b))
    print("| experiment | metric | numbers | equal | largest change | from | to | where |")
    print("|" + "---|" * 8)
    for (experiment, metric), found in sorted(changes.items()):
        size, key, a, b = max(found, key=lambda change: (change[0], change[1]))
        equal = sum(change[0] == 0 for change in found)
        where = " ".join([key[0], key[1], key[3], key[4]]) if size else ""
        print(f"| {experiment} | {metric} | {len(found)} | {equal} | {size:.3g} | {a:.6g} | {b:.6g} | {where} |")
    print(f"\n{alone} numbers are in one store only.")


if __name__ == "__main__":
    main()
