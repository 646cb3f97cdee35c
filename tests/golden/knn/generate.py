"""Writes expected.json: k-NN by DINOv2's rule on random vectors, in PyTorch and, independently, in scikit-learn.

Run with the versions of ../requirements.txt and torch:  python generate.py
The vectors are whole numbers from -8 to 8, so the file is small and reads alike everywhere.
"""

import json
import pathlib

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier

TRAIN, TEST, WIDTH, CLASSES, T = 320, 90, 12, 7, 0.07
K = [1, 10, 20, 100, 200]


def votes(queries, bank, labels, k_list):
    """facebookresearch/dinov2 eval/knn.py: softmax over the largest k first, then the first k of them."""
    similar, index = (queries @ bank.T).topk(max(k_list), largest=True, sorted=True)
    weights = torch.softmax(similar / T, 1)
    each = torch.nn.functional.one_hot(labels[index], CLASSES) * weights[..., None]
    return {k: each[:, :k].sum(1) for k in k_list}


def hits(p, truth):
    """Images whose class is first, and among the first five; a class without votes is nowhere."""
    order = torch.sort(p, dim=1, descending=True, stable=True).indices
    five = (order[:, :5] == truth[:, None]) & (p.gather(1, truth[:, None]) > 0)
    return [int((order[:, 0] == truth).sum()), int(five.any(1).sum())]


def few(labels, n, seed):
    torch.manual_seed(seed)
    picked = []
    for c in torch.unique(labels):
        of = (labels == c).nonzero()[:, 0]
        picked.append(of[torch.randperm(len(of))[:n]])
    return torch.cat(picked)


def main():
    random = np.random.RandomState(0)
    centres = random.randint(-3, 4, (CLASSES, WIDTH))
    make = lambda labels: np.clip(centres[labels] + random.randint(-5, 6, (len(labels), WIDTH)), -8, 8)
    train_labels, test_labels = random.randint(0, CLASSES, TRAIN), random.randint(0, CLASSES, TEST)
    train, test = make(train_labels), make(test_labels)
    unit = lambda x: torch.nn.functional.normalize(torch.tensor(x, dtype=torch.float32), dim=1)
    bank, queries = unit(train), unit(test)
    y, truth = torch.tensor(train_labels), torch.tensor(test_labels)
    full = {k: hits(p, truth) for k, p in votes(queries, bank, y, K).items()}

    for k in K:
        # Distances to weights by the same rule, in float64; the share of one image is the tolerance for ties.
        weigh = lambda d: np.exp((1 - d) / T)
        model = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=weigh)
        right = (model.fit(train, train_labels).predict(test) == test_labels).sum()
        assert right == full[k][0], (k, right, full[k])

    shots = {}
    for n in [1, 5, 12]:
        k_list = sorted(k for k in set(K + [n]) if k <= n)
        tries = []
        for seed in range(3):
            picked = few(y, n, seed)
            found = votes(queries, bank[picked], y[picked], k_list)
            tries.append({"picked": sorted(picked.tolist()), "hits": {k: hits(p, truth) for k, p in found.items()}})
        shots[n] = tries
    out = {
        "train": train.tolist(),
        "train_labels": train_labels.tolist(),
        "test": test.tolist(),
        "test_labels": test_labels.tolist(),
        "full": full,
        "few": shots,
    }
    text = json.dumps(out, separators=(",", ":"))
    (pathlib.Path(__file__).parent / "expected.json").write_text(text + "\n")
    print({k: [h / TEST for h in v] for k, v in full.items()})


main()
