"""Writes `cv2.tsv`: digests of what OpenCV and Pillow make of noise that the tests of `src/views` make again.

    python make_cv2.py [REAL_FOLDER]

With the folder of real inputs it also rewrites `cv2_photos.tsv`: the windows of photos that are not shipped, as mmcv and
mmseg 0.x cut them (`imrescale`, `slide_inference`), the digest over their bytes one after the other.

Pinned: opencv-python-headless 4.10.0.84, numpy 2.2.6, pillow 13.0.0. Other versions must give the same digests, or the
change is a finding: OpenCV 5 resizes and turns in another arithmetic.
"""

import hashlib
import pathlib
import sys

import cv2
import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
SIZES = [
    ((40, 50), (20, 25)),
    ((40, 50), (80, 100)),
    ((41, 53), (40, 50)),
    ((41, 53), (97, 31)),
    ((1, 1), (7, 5)),
    ((1, 9), (3, 4)),
    ((7, 1), (2, 3)),
    ((33, 47), (33, 47)),
    ((33, 47), (33, 90)),
    ((33, 47), (66, 47)),
    ((375, 500), (512, 683)),
    ((512, 683), (256, 342)),
    ((480, 640), (518, 518)),
    ((360, 480), (1023, 1364)),
    ((97, 101), (3, 2)),
    ((300, 400), (100, 100)),
]


def noise(*shape):
    """The same bytes on every machine."""
    at = np.arange(np.prod(shape), dtype=np.uint64)
    return ((at * np.uint64(2654435761) % np.uint64(1 << 32)) >> np.uint64(11)).astype(np.uint8).reshape(shape)


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def turned(image, degrees, flags):
    """mmcv.imrotate."""
    h, w = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((w - 1) * 0.5, (h - 1) * 0.5), -degrees, 1.0)
    return cv2.warpAffine(image, matrix, (w, h), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=0)


lines = []
for (h, w), (rows, columns) in SIZES:
    size = [h, w, rows, columns]
    colour, labels = noise(h, w, 3), noise(h, w)
    lines.append(["linear", *size, sha(cv2.resize(colour, (columns, rows), interpolation=cv2.INTER_LINEAR))])
    lines.append(["nearest_cv2", *size, sha(cv2.resize(labels, (columns, rows), interpolation=cv2.INTER_NEAREST))])
    pillow = Image.fromarray(labels).resize((columns, rows), Image.NEAREST)
    lines.append(["nearest_pillow", *size, sha(np.asarray(pillow))])

# Every colour, in the order of its bytes; every hue, saturation and value.
cube = np.stack(np.meshgrid(*[np.arange(256, dtype=np.uint8)] * 3, indexing="ij"), -1).reshape(256, -1, 3)
lines.append(["hsv_of", 256, 256, 0, 0, sha(cv2.cvtColor(cube, cv2.COLOR_RGB2HSV))])
lines.append(["rgb_of", 180, 256, 0, 0, sha(cv2.cvtColor(cube[:180], cv2.COLOR_HSV2RGB))])

for h, w in [(427, 565), (30, 41), (64, 64)]:
    for thousandths in [0, 1, -2500, 2500, 1234, -777, 45000, 90000]:
        size = [h, w, thousandths, 0]
        lines.append(["turn_linear", *size, sha(turned(noise(h, w, 3), thousandths / 1000, cv2.INTER_LINEAR))])
        lines.append(["turn_nearest", *size, sha(turned(noise(h, w), thousandths / 1000, cv2.INTER_NEAREST))])

text = "".join("\t".join(map(str, line)) + "\n" for line in lines)
(HERE / "cv2.tsv").write_text(text)

if len(sys.argv) > 1:
    real = pathlib.Path(sys.argv[1])
    lines = []
    for path in sorted([*real.glob("ADE*/images/*/*.jpg"), *real.glob("VOCdevkit-seg/*/JPEGImages/*.jpg"), *real.glob("nyu/test/*/*.jpg")]):
        image = cv2.imread(str(path))[..., ::-1]
        h, w = image.shape[:2]
        scale = 512 / min(h, w)
        size = int(w * scale + 0.5), int(h * scale + 0.5)
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        h, w = image.shape[:2]
        crop, stride = 512, 341
        windows = []
        for row in range(max(h - crop + stride - 1, 0) // stride + 1):
            for column in range(max(w - crop + stride - 1, 0) // stride + 1):
                y2, x2 = min(row * stride + crop, h), min(column * stride + crop, w)
                y1, x1 = max(y2 - crop, 0), max(x2 - crop, 0)
                windows.append(np.ascontiguousarray(image[y1:y2, x1:x2]).tobytes())
        digest = hashlib.sha256(b"".join(windows)).hexdigest()
        lines.append([path.relative_to(real), h, w, len(windows), digest])
    text = "".join("\t".join(map(str, line)) + "\n" for line in lines)
    (HERE / "cv2_photos.tsv").write_text(text)
