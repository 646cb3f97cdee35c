"""DINOv2's 52 linear heads in PyTorch on the vectors that `whole_image_of_tables heads:N random` wrote; prints JSON.

usage: linear_eval_torch.py FOLDER TRAIN TEST STEPS [--threads N]      (TRAIN and TEST: the runs that the example printed)

As facebookresearch/dinov2 eval/linear.py: one nn.Linear for each head, the sum of 52 cross-entropies, one SGD. Vectors are in
memory; a batch is 1,024 random rows. Timed like ours: from the Parquet files to the accuracies of all heads.
"""

import argparse
import glob
import json
import time

import numpy as np
import pyarrow.parquet as pq
import torch

RATES = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]
BATCH = 1024


def side(folder, run):
    """[N, 5, D]: CLS of four sites and the mean patch of the last; the rows of an image lie site by site, CLS first."""
    table = pq.ParquetDataset(sorted(glob.glob(f"{folder}/pooled/run={run}/*.parquet")), partitioning=None).read()
    labels = pq.ParquetDataset(sorted(glob.glob(f"{folder}/images/run={run}/*.parquet")), partitioning=None).read()
    column = table["vector"].combine_chunks()
    values = column.flatten().to_numpy().reshape(len(labels), 8, -1)
    x = torch.from_numpy(np.ascontiguousarray(values[:, [0, 2, 4, 6, 7]]))
    return x, torch.from_numpy(labels["label"].to_numpy().astype(np.int64))


def inputs(x, blocks, avgpool):
    return x[:, 4 - blocks : 4 + avgpool].flatten(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("steps", type=int)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    started = time.perf_counter()
    x, labels = side(args.folder, args.train)
    read = time.perf_counter() - started
    classes, heads, groups = int(labels.max()) + 1, [], []
    for blocks in [1, 4]:
        for avgpool in [False, True]:
            for rate in RATES:
                linear = torch.nn.Linear((blocks + avgpool) * x.shape[2], classes)
                linear.weight.data.normal_(mean=0.0, std=0.01)
                linear.bias.data.zero_()
                heads.append((linear, blocks, avgpool))
                groups.append({"params": linear.parameters(), "lr": rate * BATCH / 256})
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps, eta_min=0)
    order = torch.cat([torch.randperm(len(x)) for _ in range(args.steps * BATCH // len(x) + 1)])
    trained = time.perf_counter()
    for step in range(args.steps):
        batch = order[step * BATCH : (step + 1) * BATCH]
        of, own = x[batch], labels[batch]
        loss = sum(torch.nn.functional.cross_entropy(linear(inputs(of, *how)), own) for linear, *how in heads)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    trained = time.perf_counter() - trained
    with torch.no_grad():
        x, labels = side(args.folder, args.test)
        right = [float((linear(inputs(x, *how)).argmax(1) == labels).float().mean()) for linear, *how in heads]
    secs = time.perf_counter() - started
    print(json.dumps({"secs": secs, "read_secs": read, "train_secs": trained, "threads": args.threads, "best": max(right)}))


main()
