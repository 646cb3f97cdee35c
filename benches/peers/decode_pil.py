"""Images per second of PIL + torchvision: decode, short side 256 bicubic, centre crop 224, normalise. One thread.

    python decode_pil.py FOLDER [--rounds 4]

Files are read once beforehand, so the disk is not measured. Prints one JSON object; `images_per_sec` is the best round.
"""

import argparse
import io
import json
import pathlib
import time

import PIL
import torch
import torchvision
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--rounds", type=int, default=4)
arguments = parser.parse_args()

torch.set_num_threads(1)
files = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in {".jpeg", ".jpg", ".png"})
contents = [path.read_bytes() for path in files]
transform = transforms.Compose(
    [
        transforms.Resize(256, interpolation=InterpolationMode.BICUBIC),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)

secs = []
for _ in range(arguments.rounds):
    started = time.perf_counter()
    for content in contents:
        transform(Image.open(io.BytesIO(content)).convert("RGB"))
    secs.append(time.perf_counter() - started)

print(
    json.dumps(
        {
            "images": len(files),
            "threads": 1,
            "images_per_sec": round(len(files) / min(secs), 1),
            "secs_per_round": [round(value, 3) for value in secs],
            "pillow": PIL.__version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        }
    )
)
