"""Writes `real_labels.tsv`: what Pillow reads in the label and depth PNGs of the folder of real inputs.

    python make_real_labels.py REAL_FOLDER

Pinned: pillow 13.0.0, numpy 2.2.6. A line has a dataset, a split, the number of the photo in the dataset's order, rows,
columns, and pixels by value: `value:count`. Depths are in mm: pixels that are known, and their sum.
"""

import pathlib
import sys

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
REAL = pathlib.Path(sys.argv[1])
SETS = [
    ("masks", "train", "camvid/trainannot/*.png"),
    ("masks", "val", "camvid/valannot/*.png"),
    ("ade20k", "test", "ADEChallengeData2016/annotations/validation/*.png"),
    ("voc_seg", "trainval", "VOCdevkit-seg/VOC2012/SegmentationClass/*.png"),
    ("nyu", "test", "nyu/test/scene/sync_depth_*.png"),
]

with (HERE / "real_labels.tsv").open("w") as out:
    for dataset, split, pattern in SETS:
        for index, path in enumerate(sorted(REAL.glob(pattern))):
            values = np.asarray(Image.open(path))
            if dataset == "nyu":
                counts = f"known:{(values > 0).sum()} sum:{values.sum(dtype=np.int64)}"
            else:
                counts = " ".join(f"{value}:{count}" for value, count in zip(*np.unique(values, return_counts=True)))
            print(dataset, split, index, *values.shape, counts, sep="\t", file=out)
