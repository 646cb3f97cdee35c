"""Dense features by PyTorch, timm and NumPy; and, of the same photos, how far those of `densify_speed` are from them.

    python densify_torch.py WEIGHTS FOLDER OUT [--size 350x476] [--threads 2] [--batch 1] [--check PART.parquet]

Decode, squash (Pillow's bilinear) to the size, normalise; DINOv2 ViT-S/14 in f32 and eager mode; the final-norm patch tokens
of each photo to OUT/NAME.npy in f16. Prints one JSON object. `secs` runs from the first file to the last: imports, weights
and one forward pass come before. `--check` reads the table `dense` that our stage wrote of the same folder and fails when a
value is off by more than the rounding of f16 (1/2048 of it) and 1e-3, the distance that two f32 executors may have.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np
import torch
from PIL import Image

from timm_dinov2 import load_model

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def pixels(path, height, width):
    with Image.open(path) as image:
        squashed = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return (torch.from_numpy(np.array(squashed)).permute(2, 0, 1).float() / 255 - MEAN) / STD


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--size", default="350x476")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--check", nargs="*", default=[])
    args = parser.parse_args()
    height, width = map(int, args.size.split("x"))
    torch.set_num_threads(args.threads)
    files = sorted(p for p in args.folder.iterdir() if p.suffix.lower() in {".jpeg", ".jpg", ".png"})
    model = load_model("dinov2_vits14", args.weights, height, width)
    args.out.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        model.forward_features(torch.zeros(1, 3, height, width))
        started = time.perf_counter()
        for first in range(0, len(files), args.batch):
            batch = files[first : first + args.batch]
            tokens = model.forward_features(torch.stack([pixels(f, height, width) for f in batch]))
            for file, features in zip(batch, tokens[:, model.num_prefix_tokens :]):
                np.save(args.out / f"{file.stem}.npy", features.numpy().astype(np.float16))
        secs = time.perf_counter() - started
        result = {"images": len(files), "threads": args.threads, "secs": secs, "images_per_sec": len(files) / secs}
        if args.check:
            result["check"] = check(args.check, model, files, height, width)
    print(json.dumps(result))
    sys.exit(0 if result.get("check", {"bad": 0})["bad"] == 0 else 1)


def check(parts, model, files, height, width):
    """Against f32 features, so that only our own rounding counts."""
    import pyarrow.parquet as pq

    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    worst_abs, worst_rel, bad, values = 0.0, 0.0, 0, 0
    for row in rows:
        wanted = model.forward_features(pixels(files[row["image"]], height, width)[None])[0, model.num_prefix_tokens :]
        wanted = wanted.double().numpy()
        assert (row["grid_h"], row["grid_w"]) == (height // 14, width // 14), "another grid"
        ours = np.frombuffer(row["patches"], "<f2").astype(np.float64).reshape(wanted.shape)
        off = np.abs(ours - wanted)
        bad += int((off > np.abs(wanted) / 2048 + 1e-3).sum())
        worst_abs = max(worst_abs, off.max())
        large = np.abs(wanted) > 0.5
        worst_rel = max(worst_rel, (off[large] / np.abs(wanted)[large]).max())
        values += off.size
    return {"rows": len(rows), "values": values, "bad": bad, "worst_abs": worst_abs, "worst_rel_above_half": worst_rel}


if __name__ == "__main__":
    main()
