"""Compares what a store has of changed models with timm run block by block: removal of artifacts, test-time registers.

    python change_timm.py --model dinov2_vits14 --weights W STORE

For every extraction with the weights of the model, whatever name the changed one has in the study (`meaning.json` says what
was changed), the images of its table `pictures` are
encoded by timm with the same change, written here anew from its description (and, for the study's notebook, from what
its program does), and the norms of `token_stats` at every site that timm's pass has are compared, relative. For
`register_neurons` the mean activities are compared as well. Units that move are those of the run that the extraction read
(the `inputs` of its `meaning.json`). Exits with 1 when one differs by more than 1e-3.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import pyarrow.parquet as pq
import torch

from timm_dinov2 import load_model
from trace_timm import MEAN, STD

TOLERANCE = 1e-3


def rows_of(folder):
    return [row for part in sorted(folder.glob("*.parquet")) for row in pq.ParquetFile(part).read().to_pylist()]


def record_of(folder):
    return json.loads((folder / "meaning.json").read_text())


def pixels_of(picture):
    shape = (picture["height_px"], picture["width_px"], 3)
    rgb = torch.from_numpy(np.frombuffer(picture["rgb"], np.uint8).reshape(shape).copy()).permute(2, 0, 1)
    return ((rgb / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None])[None]


def cls_attention(block, x):
    """Row of CLS over all tokens, mean over heads."""
    attention = block.attn
    q, k, _ = attention.qkv(block.norm1(x))[0].unflatten(-1, (3, attention.num_heads, -1)).permute(1, 2, 0, 3)
    return (q[:, :1] @ k.transpose(-1, -2) * attention.scale).softmax(-1)[:, 0].mean(0)


def removed(x, edit, attention, grid, donor, prefix=1):
    """`[1, N, D]` after an edit."""
    h, w = grid
    tokens = ([0] if edit["cls_competes"] else []) + list(range(prefix, x.shape[1]))
    lists = []
    if edit["select"] in ("norm", "both"):
        lists.append(x[0].norm(dim=-1))
    if edit["select"] in ("attention", "both"):
        lists.append(attention)
    chosen = set(tokens)
    for values in lists:
        chosen &= set(sorted(tokens, key=lambda t: -values[t].item())[: edit["n"]])
    chosen = sorted(t - prefix for t in chosen if t >= prefix)
    old = x[0, prefix:].clone()
    new = old.clone()
    for p in chosen:
        r, c = divmod(p, w)
        steps = [(-1, 0), (1, 0), (0, -1), (0, 1)] + ([(-1, -1), (-1, 1), (1, -1), (1, 1)] if edit["neighbours"] == 8 else [])
        around = old[[(r + i) * w + c + j for i, j in steps if 0 <= r + i < h and 0 <= c + j < w]]
        rest = [q for q in range(h * w) if q not in chosen]
        new[p] = {
            "min": lambda: around.min(0).values,
            "min_norm": lambda: around[around.norm(dim=-1).argmin()],
            "mean": lambda: around.mean(0),
            "half": lambda: 0.5 * old[p] + 0.5 * around.mean(0),
            "zero": lambda: torch.zeros_like(old[p]),
            "average": lambda: old[rest].mean(0),
            "donor": lambda: donor[p],
        }[edit["replace"]]()
    return torch.cat([x[:, :prefix], new[None]], 1)


def passes(model, pixels, edit, registers, neurons, donors, keep):
    """Block outputs and the final norm by site; hidden layers go to `keep(block, hidden)`."""
    x = model._pos_embed(model.patch_embed(pixels))
    x = model.norm_pre(x)
    grid = (pixels.shape[2] // 14, pixels.shape[3] // 14)
    if registers:
        x = torch.cat([x[:, :1], torch.zeros(1, registers, x.shape[2]), x[:, 1:]], 1)
    sites = {}
    for i, block in enumerate(model.blocks):
        sites[f"input_{i}"] = x
        skip = False
        if edit and i in edit["blocks"]:
            x = removed(x, edit, cls_attention(block, x), grid, donors[i] if donors else None)
            skip = edit["then"] == "skip"
        if not skip:
            x = x + block.ls1(block.attn(block.norm1(x)))
            hidden = block.mlp.act(block.mlp.fc1(block.norm2(x)))
            keep(i, hidden[0])
            for unit in (row["unit"] for row in neurons if row["block"] == i):
                column = hidden[0, :, unit]
                others = torch.cat([column[:1], column[1 + registers :]])
                most = others[others.abs().argmax()].item()
                column[1:] = 0
                column[1 : 1 + registers] = most
            x = x + block.ls2(block.mlp.fc2(hidden))
        sites[f"block_{i}"] = x
    sites["final"] = model.norm(x)
    return sites


def check_run(folder, args):
    record = record_of(folder)
    meaning = record["meaning"]
    beside = lambda table: args.store / table / folder.relative_to(args.store / "token_stats")
    pictures = rows_of(beside("pictures"))
    edit, given = meaning.get("edit"), meaning.get("test_time_registers") or {"registers": 0, "neurons": 0}
    read = [args.store / table["folder"] for table in record["inputs"] if table["table"] == "register_neurons"]
    neurons = [row for run in read for row in rows_of(run) if row["rank"] < given["neurons"]]
    norms = {}
    for row in rows_of(folder):
        norms.setdefault((row["image"], row["site"]), []).append(row["norm"])
    worst, donors, activity = 0.0, None, {}
    for picture in pictures:
        model = load_model(args.model, args.weights, picture["height_px"], picture["width_px"])
        pixels = pixels_of(picture)
        if edit and edit["replace"] == "donor" and donors is None:
            plain = passes(model, pixels, None, 0, [], None, lambda *_: None)
            donors = [plain[f"input_{i}"][0, 1:] for i in range(len(model.blocks))]
        hidden = {}
        sites = passes(model, pixels, edit, given["registers"], neurons, donors, lambda i, h: hidden.__setitem__(i, h.clone()))
        for (image, site), ours in norms.items():
            if image == picture["image"] and site in sites:
                theirs = sites[site][0].norm(dim=-1).numpy()
                # A token that was set to zero has no relative difference.
                worst = max(worst, float((np.abs(ours - theirs) / np.maximum(theirs, 1e-3 * np.median(theirs))).max()))
        if not edit and not given["registers"]:
            activity[picture["image"]] = (sites, hidden)
    print(f"{folder.relative_to(args.store / 'token_stats')}: {json.dumps(edit or meaning.get('test_time_registers') or 'unchanged')}: {worst:.1e}")
    images = sum(pq.ParquetFile(part).metadata.num_rows for part in beside("images").glob("*.parquet"))
    return worst <= TOLERANCE and (not activity or check_neurons(args, meaning, images, activity))


def check_neurons(args, extraction, images, activity):
    """Mean activities of the units found on the images of an extraction, where the policy is a rank, which needs no cut-off."""
    good = True
    for run in sorted({part.parent for part in args.store.glob("register_neurons/**/*.parquet")}):
        meaning = record_of(run)["meaning"]
        if any(meaning[key] != extraction[key] for key in ("weights", "dataset", "preprocess")):
            continue
        name, searched = run.relative_to(args.store / "register_neurons"), min(meaning["images"], images)
        if meaning["outliers"]["rule"] != "nth_largest" or searched > len(activity):
            print(f"{name}: not judged; needs the rule nth_largest, and `pictures` as large as `images`")
            continue
        on, off = {}, {}
        for sites, hidden in (activity[i] for i in range(searched)):
            norms = sites[meaning["outlier_site"]][0, 1:].norm(dim=-1)
            mask = norms > norms.sort(descending=True).values[meaning["outliers"]["n"] - 1]
            for block in meaning["blocks"]:
                on.setdefault(block, []).append(hidden[block][1:][mask].abs())
                off.setdefault(block, []).append(hidden[block][1:][~mask].abs())
        on, off = ({b: torch.cat(h).mean(0) for b, h in side.items()} for side in (on, off))
        ranking = sorted(((-v.item(), b, u) for b, h in on.items() for u, v in enumerate(h)))
        agree = True
        for row, (value, block, unit) in zip(rows_of(run), ranking):
            near = abs(row["on_outliers"] + value) <= TOLERANCE * -value
            near &= abs(row["on_others"] - off[block][unit].item()) <= TOLERANCE * -value
            agree &= near and (row["block"], row["unit"]) == (block, unit)
        print(f"{name}: {len(rows_of(run))} register neurons {'agree' if agree else 'DIFFER'}")
        good &= agree
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", required=True)
    args = parser.parse_args()
    runs = sorted({part.parent for part in args.store.glob("token_stats/**/*.parquet")})
    # The name of a changed model is the study's; its weights are the model's.
    own = {record_of(run)["meaning"]["weights"] for run in runs if f"model={args.model}" in run.parts}
    runs = [run for run in runs if record_of(run)["meaning"]["weights"] in own]
    if not runs:
        sys.exit(f"{args.store} has no table `token_stats` of {args.model}")
    with torch.no_grad():
        results = [check_run(run, args) for run in runs]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
