"""Writes the data that zero-shot classification ships with, from the packages that publish it.

- `stages/vit/src/text/merges.txt.gz`: the merges of CLIP's tokenizer that are used, of `bpe_simple_vocab_16e6.txt.gz`
  (SHA-256 924691ac…48d6804a, the file of openai/CLIP, MIT), without its header.
- `stages/extract/src/embed_classes/templates.txt`: the 80 templates of openai/CLIP, of open_clip (MIT).
- `stages/extract/src/embed_classes/imagenet.txt`: WordNet ids in order (timm, Apache-2.0) with open_clip's class names.
"""

import gzip
import io
from pathlib import Path

import timm
from open_clip.tokenizer import default_bpe
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

ROOT = Path(__file__).resolve().parents[3] / "stages"
merges = gzip.open(default_bpe()).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
packed = io.BytesIO()
with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9, mtime=0, filename="") as file:
    file.write("\n".join(merges).encode())
(ROOT / "vit/src/text/merges.txt.gz").write_bytes(packed.getvalue())

classes = ROOT / "extract/src/embed_classes"
classes.joinpath("templates.txt").write_text("".join(template("{}") + "\n" for template in OPENAI_IMAGENET_TEMPLATES))
synsets = Path(timm.__file__).parent.joinpath("data/_info/imagenet_synsets.txt").read_text().split()
assert synsets == sorted(synsets) and len(synsets) == len(IMAGENET_CLASSNAMES) == 1000
classes.joinpath("imagenet.txt").write_text("".join(f"{i} {name}\n" for i, name in zip(synsets, IMAGENET_CLASSNAMES)))
