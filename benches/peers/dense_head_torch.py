"""Time of a step of a dense head in PyTorch, on the features that `dense_head_speed` drew.

    cargo run --release -p train --example dense_head_speed -- RECIPE STEPS FOLDER
    python dense_head_torch.py RECIPE STEPS FOLDER [--threads 2]

Features lie in memory in f16, as ours do; a step takes random views, makes f32 of them, and trains. Layers, losses,
resizing and optimisers are PyTorch's. Prints one JSON object with seconds a step over the second half of the steps and,
from the table `losses` of our run, ours beside the loss at which both ended. torch 2.15.0, pyarrow 26.0.1.
"""

import argparse
import glob
import json
import pathlib
import time

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F

args = argparse.ArgumentParser()
args.add_argument("recipe", choices=["cells", "dinov2_segmentation", "nyu_linear"])
args.add_argument("steps", type=int)
args.add_argument("folder", type=pathlib.Path)
args.add_argument("--threads", type=int, default=2)
args = args.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(0)


def table(name):
    return pq.read_table(glob.glob(str(args.folder / name / "**" / "part-*.parquet"), recursive=True)[0]).to_pydict()


dense, truths = table("dense"), table("truth_maps")
h, w = dense["grid_h"][0], dense["grid_w"][0]
patches = torch.stack([torch.tensor(np.frombuffer(b, "<f2").reshape(h * w, -1)) for b in dense["patches"]])
cls = torch.stack([torch.tensor(np.frombuffer(b, "<f2")) for b in dense["cls"]])
size = (truths["height"][0], truths["width"][0])
depth = args.recipe == "nyu_linear"
kind = "<u2" if depth else "u1"
maps = torch.stack([torch.tensor(np.frombuffer(b, kind).reshape(size).astype(np.int32 if depth else np.uint8)) for b in truths["cells"]])
d = patches.shape[-1]


def features(views):
    return patches[views].float().reshape(len(views), h, w, d).permute(0, 3, 1, 2)


if args.recipe == "cells":
    head, per_step = torch.nn.Conv2d(d, 11, 1), 4
    torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-3)
    rows = ((torch.arange(h) + 0.5) * size[0] / h).long()
    columns = ((torch.arange(w) + 0.5) * size[1] / w).long()

    def loss_of(views):
        return F.cross_entropy(head(features(views)), maps[views][:, rows][:, :, columns].long(), ignore_index=255)

elif args.recipe == "dinov2_segmentation":
    head, per_step = torch.nn.Sequential(torch.nn.BatchNorm2d(d), torch.nn.Conv2d(d, 150, 1)), 16
    torch.nn.init.normal_(head[1].weight, std=0.01), torch.nn.init.zeros_(head[1].bias)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=1e-4)

    def loss_of(views):
        logits = F.interpolate(head(features(views)), size=size, mode="bilinear", align_corners=False)
        return F.cross_entropy(logits, maps[views].long(), ignore_index=255, reduction="none").mean()

else:
    head, per_step = torch.nn.Conv2d(2 * d, 256, 1), 16
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-4, weight_decay=0.01)
    bins = torch.linspace(0.001, 10, 256)

    def loss_of(views):
        losses = []
        for pair in views.split(2):
            x = torch.cat([features(pair), cls[pair].float()[:, :, None, None].expand(-1, -1, h, w)], 1)
            x = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
            q = torch.relu(head(x)) + 0.1
            pred = torch.einsum("ikmn,k->imn", q / q.sum(1, keepdim=True), bins)[:, None]
            pred = F.interpolate(pred, size=size, mode="bilinear", align_corners=False)[:, 0]
            gt = maps[pair].float() / 1000
            g = torch.log(pred[gt > 0] + 0.001) - torch.log(gt[gt > 0] + 0.001)
            losses.append(torch.sqrt(torch.var(g) + 0.15 * g.mean() ** 2))
        return sum(losses) / len(losses)


times, last = [], 0.0
for _ in range(args.steps):
    views = torch.randperm(len(patches))[:per_step]
    loss = loss_of(views)
    optimiser.zero_grad()
    loss.backward()
    if depth:
        torch.nn.utils.clip_grad_norm_(head.parameters(), 35.0)
    optimiser.step()
    last = loss.item()
    times.append(time.perf_counter())
half = max(len(times) // 2, 1)
secs = (times[-1] - times[half - 1]) / (len(times) - half)
print(json.dumps({"recipe": args.recipe, "steps": args.steps, "threads": args.threads, "secs_per_step": secs, "last_loss": last, "our_last_loss": table("losses")["loss"][-1]}))
