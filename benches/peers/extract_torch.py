"""What `vitals run` does with a folder of photos, written with PyTorch, timm, Pillow and pyarrow.

    python extract_torch.py --weights FILE --photos FOLDER --out FOLDER [--threads 2] [--batch 8] [--workers 0]
                            [--precision f32|bf16]

Decode, short side 256 bicubic, centre crop 224, normalise; forward in eager mode with hooks (bf16: under autocast, what is
read back is f32); to Parquet: norms,
neighbour cosine, CLS attention and pixel variance of every token; vectors and pixels of sampled tokens; pooled vectors;
histograms of the norms at every site. `--workers N` decodes in N DataLoader processes. `--sites blocks` leaves the norms of
queries, keys and values out of the histograms, to show what they cost. The sampled tokens are those that `vitals` draws.

Prints one JSON object. `secs` runs from the first file to the last footer: imports, the loading of the weights and one
forward pass to warm up come before it.
"""

import argparse
import json
import pathlib
import resource
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

import parquet_tables
from timm_dinov2 import load_model

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CUTOFF = 150.0
DRAWS = 5
BINS_PER_DECADE = 40


class Photos(Dataset):
    """Photos in the order of their names; a file that does not decode is None and the reason."""

    def __init__(self, folder, size):
        self.folder = pathlib.Path(folder)
        self.names = sorted(p.name for p in self.folder.iterdir() if p.suffix.lower() in {".jpeg", ".jpg", ".png"})
        self.transform = transforms.Compose(
            [
                transforms.Resize(size * 256 // 224, interpolation=InterpolationMode.BICUBIC),
                transforms.CenterCrop(size),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        try:
            with Image.open(self.folder / self.names[index]) as image:
                return index, self.transform(image.convert("RGB")), image.size
        except OSError as error:
            return index, None, str(error)


class Taps:
    """Hooks that keep what the tables need of the running batch."""

    def __init__(self, model, sites):
        self.norms, self.values = {}, {}
        model.patch_embed.register_forward_hook(lambda _, __, out: self.keep("patch_embed", out))
        model.norm_pre.register_forward_hook(lambda _, __, out: self.keep("with_position", out))
        for i, block in enumerate(model.blocks):
            if sites == "all":
                block.attn.qkv.register_forward_hook(lambda _, __, out, i=i: self.keep_qkv(i, out))
            block.register_forward_hook(lambda _, __, out, i=i: self.norm(f"block_{i}", out))
        self.heads = model.blocks[-1].attn.num_heads
        self.scale = model.blocks[-1].attn.scale
        model.blocks[-1].attn.qkv.register_forward_hook(self.attend)
        model.norm.register_forward_hook(lambda _, __, out: self.keep("final", out))

    def norm(self, site, tokens):
        self.norms[site] = torch.linalg.vector_norm(tokens, dim=-1, dtype=torch.float32)

    def keep(self, site, tokens):
        self.norm(site, tokens)
        self.values[site] = tokens.float()

    def keep_qkv(self, i, out):
        norms = torch.linalg.vector_norm(out.unflatten(-1, (3, -1)), dim=-1, dtype=torch.float32)
        for part, name in enumerate(("query", "key", "value")):
            self.norms[f"{name}_{i}"] = norms[..., part]

    def attend(self, _, __, out):
        """Attention of CLS in the last block, mean over heads. `[B, N]`"""
        query, key, _ = out.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B, heads, N, D / heads]
        scores = ((query[:, :, :1] * self.scale) @ key.transpose(-1, -2)).float()
        self.values["cls_attention"] = scores.softmax(-1).mean(1).squeeze(1)


def neighbour_cosine(patches, grid):
    """Mean cosine of each patch to the 2 to 4 that share an edge with it. `[B, P, D]` → `[B, P]`"""
    unit = torch.nn.functional.normalize(patches, dim=-1).unflatten(1, grid)
    across = (unit[:, :, 1:] * unit[:, :, :-1]).sum(-1)
    down = (unit[:, 1:] * unit[:, :-1]).sum(-1)
    total, count = torch.zeros(unit.shape[:3]), torch.zeros(grid)
    total[:, :, 1:] += across
    total[:, :, :-1] += across
    total[:, 1:] += down
    total[:, :-1] += down
    count[:, 1:] += 1
    count[:, :-1] += 1
    count[1:] += 1
    count[:-1] += 1
    return (total / count).flatten(1)


def patch_pixels(pixels, patch):
    """`[B, 3, H, W]` → `[B, P, 3·p·p]`"""
    return torch.nn.functional.unfold(pixels, patch, stride=patch).transpose(1, 2)


def pixel_variance(pixels, patch):
    """Variance of (R + G + B) / 3, in [0, 1] units, over each patch. `[B, P]`"""
    std, mean = torch.tensor(STD).view(3, 1, 1), torch.tensor(MEAN).view(3, 1, 1)
    luminance = (pixels * std + mean).mean(1, keepdim=True)
    return patch_pixels(luminance, patch).var(-1, unbiased=False)


def mix(x):
    """SplitMix64, one step."""
    mask = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def choose(image, draw, purpose, n):
    """The token that `vitals` draws with seed 0: purpose 1 is a normal patch, 2 an outlier."""
    state = mix(0)
    for part in (image, draw, purpose):
        state = mix(state ^ part)
    return (state * n) >> 64


class Histograms:
    """Counts of norms per site, kind, scale and bin."""

    def __init__(self):
        self.counts = {}

    def add(self, norms, tokens, prefix):
        """Norms of one batch by site, `[B, tokens]`; sites without CLS and registers are `prefix` tokens shorter."""
        for site, values in norms.items():
            missing = tokens - values.shape[1]
            kinds = [("cls", 0, 1)] + [(f"register_{r}", 1 + r, 2 + r) for r in range(prefix - 1)]
            if missing:
                kinds = []
            for kind, start, end in kinds + [("patch", prefix - missing, tokens)]:
                some = values[:, start:end].ravel()
                log = np.floor(np.log10(np.maximum(some, np.float32(1e-6))) * np.float32(BINS_PER_DECADE))
                for scale, bins in (("log", log), ("linear", np.floor(some))):
                    bins = bins.astype(np.int64)
                    low = bins.min()
                    found = np.bincount(bins - low)
                    counts = self.counts.setdefault((site, kind, scale), {})
                    for offset in np.flatnonzero(found):
                        counts[low + offset] = counts.get(low + offset, 0) + found[offset]

    def table(self):
        rows = {name: [] for name in ("site", "kind", "scale", "bin", "low", "high", "tokens")}
        for (site, kind, scale), counts in self.counts.items():
            bins = np.array(sorted(counts))
            edge = (lambda b: 10.0 ** (b / BINS_PER_DECADE)) if scale == "log" else (lambda b: b.astype(float))
            for name, values in (("site", [site] * len(bins)), ("kind", [kind] * len(bins)), ("scale", [scale] * len(bins)),
                                 ("bin", bins), ("low", edge(bins)), ("high", edge(bins + 1)),
                                 ("tokens", [counts[b] for b in bins])):
                rows[name].extend(values)
        return rows


class Rows:
    """Fills the tables from one batch."""

    def __init__(self, model, grid, writers):
        self.prefix = model.num_prefix_tokens
        self.grid, self.patch, self.writers = grid, model.patch_embed.patch_size[0], writers
        self.last = f"block_{len(model.blocks) - 1}"
        self.patches = grid[0] * grid[1]
        self.tokens = self.prefix + self.patches
        registers = self.prefix - 1
        self.kinds = np.array(["cls"] + ["register"] * registers + ["patch"] * self.patches)
        self.index = np.concatenate([[0], np.arange(registers), np.arange(self.patches)])
        self.is_patch = np.arange(self.tokens) >= self.prefix
        self.histograms = Histograms()

    def add(self, names, indices, pixels, sizes, taps):
        norms = {site: values.numpy() for site, values in taps.norms.items()}
        self.histograms.add(norms, self.tokens, self.prefix)
        self.images(names, indices, sizes)
        outlier = norms[self.last][:, self.prefix:] > CUTOFF
        self.stats(indices, pixels, taps, norms[self.last], outlier)
        self.samples(indices, pixels, taps.values["final"].numpy(), norms[self.last], outlier)
        self.pooled(indices, taps.values["final"])

    def images(self, names, indices, sizes):
        n = len(indices)
        self.writers["images"].write(
            {
                "image": indices, "name": [names[i] for i in indices], "label": [None] * n, "class": [None] * n,
                "width_px": [w for w, _ in sizes], "height_px": [h for _, h in sizes],
                "grid_h": np.full(n, self.grid[0]), "grid_w": np.full(n, self.grid[1]),
            }
        )

    def stats(self, indices, pixels, taps, norms, outlier):
        n = len(indices)
        plain = neighbour_cosine(taps.values["patch_embed"], self.grid).numpy()
        positioned = neighbour_cosine(taps.values["with_position"][:, self.prefix:], self.grid).numpy()
        absent = np.tile(~self.is_patch, n)

        def of_patches(values, kind=None):
            """`[B, P]` to one value a token, null for CLS and registers."""
            whole = np.zeros((n, self.tokens), values.dtype)
            whole[:, self.prefix:] = values
            return pa.array(whole.ravel(), kind, mask=absent)

        rows, columns = np.divmod(np.arange(self.patches), self.grid[1])
        flags = np.zeros((n, self.tokens), bool)
        flags[:, self.prefix:] = outlier
        self.writers["token_stats"].write(
            {
                "image": np.repeat(np.asarray(indices, np.uint32), self.tokens),
                "site": np.full(n * self.tokens, self.last),
                "kind": np.tile(self.kinds, n),
                "index": np.tile(self.index, n),
                "row": of_patches(np.tile(rows.astype(np.uint16), (n, 1))),
                "col": of_patches(np.tile(columns.astype(np.uint16), (n, 1))),
                "norm": norms.ravel(),
                "outlier": flags.ravel(),
                "neighbour_cosine": of_patches(plain),
                "neighbour_cosine_position": of_patches(positioned),
                "cls_attention": taps.values["cls_attention"].numpy().ravel(),
                "pixel_variance": of_patches(pixel_variance(pixels, self.patch).numpy()),
            }
        )

    def samples(self, indices, pixels, final, norms, outlier):
        vectors = {name: [] for name in ("image", "kind", "index", "row", "col", "draw", "norm")}
        at, cells, cell_rows = [], [], {name: [] for name in ("image", "kind", "index", "draw")}
        for b, image in enumerate(indices):
            found = [("cls", 0, 0, None, 0)]
            found += [("register", r, 1 + r, None, 0) for r in range(self.prefix - 1)]
            for kind, purpose, wanted in (("normal", 1, False), ("outlier", 2, True)):
                patches = np.flatnonzero(outlier[b] == wanted)
                for draw in range(DRAWS if len(patches) else 0):
                    patch = int(patches[choose(image, draw, purpose, len(patches))])
                    found.append((kind, patch, self.prefix + patch, divmod(patch, self.grid[1]), draw))
            for kind, index, token, cell, draw in found:
                at.append((b, token))
                row, column = cell or (None, None)
                for name, value in (("image", image), ("kind", kind), ("index", index), ("row", row), ("col", column),
                                    ("draw", draw), ("norm", norms[b, token])):
                    vectors[name].append(value)
                if cell is not None:
                    cells.append((b, index))
                    for name, value in (("image", image), ("kind", kind), ("index", index), ("draw", draw)):
                        cell_rows[name].append(value)
        b, token = np.array(at).T
        self.writers["token_vectors"].write(vectors | {"site": ["final"] * len(at), "vector": final[b, token]})
        b, patch = np.array(cells).T
        cut = patch_pixels(pixels, self.patch).numpy()
        self.writers["token_pixels"].write(cell_rows | {"pixels": cut[b, patch]})

    def pooled(self, indices, final):
        both = torch.stack([final[:, 0], final[:, self.prefix:].mean(1)], dim=1)  # [B, 2, D]
        n = len(indices)
        self.writers["pooled"].write(
            {
                "image": np.repeat(np.asarray(indices, np.uint32), 2), "site": ["final"] * (2 * n),
                "pool": ["cls", "mean_patch"] * n, "vector": both.numpy(),
            }
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="dinov2_vits14")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--sites", choices=["all", "blocks"], default="all")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.model, arguments.weights, arguments.size, arguments.size)
    photos = Photos(arguments.photos, arguments.size)
    loader = DataLoader(photos, arguments.batch, num_workers=arguments.workers, collate_fn=list)
    patch = model.patch_embed.patch_size[0]
    columns = parquet_tables.schemas(model.embed_dim, 3 * patch * patch)
    writers = {table: parquet_tables.Writer(arguments.out, table, schema) for table, schema in columns.items()}
    taps = Taps(model, arguments.sites)
    rows = Rows(model, (arguments.size // patch,) * 2, writers)

    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.precision == "bf16")
    with torch.inference_mode(), autocast:
        model(torch.zeros(arguments.batch, 3, arguments.size, arguments.size))
        started = time.perf_counter()
        encoded, encode_secs = 0, 0.0
        for batch in loader:
            for index, pixels, error in batch:
                if pixels is None:
                    skip = {"image": [index], "name": [photos.names[index]], "reason": ["undecodable"], "detail": [error]}
                    writers["skipped"].write(skip)
            good = [item for item in batch if item[1] is not None]
            if not good:
                continue
            indices, images, sizes = zip(*good)
            pixels = torch.stack(images)
            forward = time.perf_counter()
            model(pixels)
            encode_secs += time.perf_counter() - forward
            rows.add(photos.names, indices, pixels, sizes, taps)
            encoded += len(good)
        writers["norm_histograms"].write(rows.histograms.table())
        for writer in writers.values():
            writer.close()
        secs = time.perf_counter() - started

    part = pathlib.Path(arguments.out) / "token_stats" / "part-00000.parquet"
    token_rows = pq.ParquetFile(part).metadata.num_rows
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = [resource.getrusage(who).ru_maxrss * unit / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(
        json.dumps(
            {
                "variant": f"torch, {arguments.workers} loader processes, {arguments.sites} sites",
                "images": encoded, "skipped": len(photos) - encoded, "secs": secs, "images_per_sec": encoded / secs,
                "encode_secs": encode_secs, "peak_rss_mb": peak[0], "peak_rss_mb_of_a_loader": peak[1] if arguments.workers else None,
                "token_rows": token_rows, "bytes_per_token_row": part.stat().st_size / max(token_rows, 1),
                "threads": arguments.threads, "batch": arguments.batch,
            }
        )
    )


if __name__ == "__main__":
    main()
