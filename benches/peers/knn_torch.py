"""k-NN as DINOv2's KnnModule does it, in PyTorch, on the vectors that `whole_image_of_tables knn random` wrote; prints JSON.

usage: knn_torch.py FOLDER TRAIN TEST [--threads N]      (TRAIN and TEST: the runs that the example printed)

Timed like ours: from the Parquet files to the accuracies of k = 10, 20, 100, 200. The whole bank is in memory here, and
each batch of 256 queries makes its full row of similarities.
"""

import argparse
import glob
import json
import time

import numpy as np
import pyarrow.parquet as pq
import torch

K, T = [10, 20, 100, 200], 0.07


def side(folder, run):
    vectors = pq.ParquetDataset(sorted(glob.glob(f"{folder}/pooled/run={run}/*.parquet")), partitioning=None).read()
    labels = pq.ParquetDataset(sorted(glob.glob(f"{folder}/images/run={run}/*.parquet")), partitioning=None).read()
    column = vectors["vector"].combine_chunks()
    values = column.flatten().to_numpy().reshape(len(vectors), -1)
    x = torch.nn.functional.normalize(torch.from_numpy(np.ascontiguousarray(values)), dim=1)
    return x, torch.from_numpy(labels["label"].to_numpy().astype(np.int64))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    started = time.perf_counter()
    bank, labels = side(args.folder, args.train)
    queries, truth = side(args.folder, args.test)
    read = time.perf_counter() - started
    classes, right = int(labels.max()) + 1, {k: [0, 0] for k in K}
    for at in range(0, len(queries), 256):
        of, own = queries[at : at + 256], truth[at : at + 256]
        similar, index = (of @ bank.T).topk(max(K), largest=True, sorted=True)
        weights = torch.softmax(similar / T, 1)
        each = torch.nn.functional.one_hot(labels[index], classes) * weights[..., None]
        for k in K:
            p = each[:, :k].sum(1)
            five = p.topk(min(5, classes)).indices
            right[k][0] += int((five[:, 0] == own).sum())
            right[k][1] += int((five == own[:, None]).any(1).sum())
    secs = time.perf_counter() - started
    scores = {f"accuracy_frac_k{k}": right[k][0] / len(queries) for k in K}
    print(json.dumps({"secs": secs, "read_secs": read, "threads": args.threads, "scores": scores}))


main()
