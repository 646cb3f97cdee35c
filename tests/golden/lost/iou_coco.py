"""Writes `iou_coco.txt`: boxes as x, y, width, height with their overlap as pycocotools computes it, in f64.

    pip install pycocotools==2.0.11 numpy==2.4.6
"""

from pathlib import Path

import numpy as np
from pycocotools import mask

rng = np.random.default_rng(5)
n = 120
first, second = (np.round(np.concatenate([rng.uniform(0, 300, (n, 2)), rng.uniform(1, 340, (n, 2))], 1), 2) for _ in "ab")
# Every third pair lies close together.
second[::3] = np.round(first[::3] + rng.uniform(0, 0.15, (n // 3, 4)) * first[::3, [2, 3, 2, 3]], 2)
# One by one: the diagonal of the matrix of all pairs.
iou = [mask.iou([list(a)], [list(b)], [0])[0, 0] for a, b in zip(first, second)]
lines = [" ".join(f"{x:.2f}" for x in (*a, *b)) + f" {v:.9f}" for a, b, v in zip(first, second, iou)]
(Path(__file__).parent / "iou_coco.txt").write_text("\n".join(lines) + "\n")
print(sum(v == 0 for v in iou), "apart,", sum(v >= 0.5 for v in iou), "at one half or above")
