"""Compares every site that `vitals trace` wrote with timm: same weights, same pixels; then the pixels themselves with Pillow's.

    vitals trace --model dinov2_vits14 --weights W --image F --sites all --out t.safetensors
    python trace_timm.py --model dinov2_vits14 --weights W --image F --trace t.safetensors

The first column feeds timm the `pixels` of the file, the second those that Pillow and torchvision make of the image. With
`--size` or `--preprocess` the trace had, give them here too. Exits with 1 when a site differs by more than --tolerance
(max abs) in either column, or when the file has a key that is not compared.
"""

import argparse
import sys

import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from timm_dinov2 import MODELS, load_model

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PATCH = 14


def pillow_pixels(path, preprocess, size):
    """`[3, H, W]` of the image, made as `vitals trace --preprocess` says."""
    height, width = size
    steps = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    if preprocess == "eval":
        resize = transforms.Resize(height * 256 // 224, interpolation=InterpolationMode.BICUBIC)
        steps = [resize, transforms.CenterCrop(height), *steps]
    elif preprocess == "square":
        steps = [transforms.Resize((height, width), interpolation=InterpolationMode.BICUBIC), *steps]
    with Image.open(path) as image:
        pixels = transforms.Compose(steps)(image.convert("RGB"))
    # What is no whole patch is cut off at the bottom and right.
    return pixels[:, : pixels.shape[1] // PATCH * PATCH, : pixels.shape[2] // PATCH * PATCH]


def sites(model, pixels):
    """Every site of one image by its name in a trace."""
    found, hooks = {}, []
    heads = model.blocks[0].attn.num_heads

    def keep(name):
        return lambda _, __, out: found.__setitem__(name, out[0])

    def keep_attention(i, attention):
        def hook(_, __, out):
            query, key, value = out[0].chunk(3, dim=-1)  # [N, D] each
            found.update({f"query_{i}": query, f"key_{i}": key, f"value_{i}": value})
            query, key = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (query, key))  # [heads, N, D / heads]
            weights = (query * attention.scale @ key.transpose(-1, -2)).softmax(-1)
            found.update({f"attention_{i}": weights, f"cls_attention_{i}": weights[:, 0]})

        return hook

    for name, module in (("patch_embed", model.patch_embed), ("with_position", model.norm_pre), ("final", model.norm)):
        hooks.append(module.register_forward_hook(keep(name)))
    for i, block in enumerate(model.blocks):
        hooks.append(block.register_forward_hook(keep(f"block_{i}")))
        hooks.append(block.attn.qkv.register_forward_hook(keep_attention(i, block.attn)))
    with torch.inference_mode():
        model.forward_features(pixels[None])
    for hook in hooks:
        hook.remove()
    return found


def difference(ours, theirs):
    """Largest absolute difference; infinite when the shapes differ or a value is no number."""
    if ours.shape != theirs.shape:
        return float("inf")
    largest = (ours - theirs).abs().max().item()
    return largest if largest == largest else float("inf")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="dinov2_vits14", choices=sorted(MODELS))
    parser.add_argument("--weights", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--trace", required=True)
    parser.add_argument("--preprocess", default="eval", choices=["eval", "square", "none"])
    parser.add_argument("--positions", choices=["official", "antialias"], help="the model's own rule by default")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    arguments = parser.parse_args()

    trace = load_file(arguments.trace)
    pixels = trace.pop("pixels")
    height, width = pixels.shape[1:]
    own = pillow_pixels(arguments.image, arguments.preprocess, (height, width))
    model = load_model(arguments.model, arguments.weights, height, width, arguments.positions)
    print(f"pixels {tuple(pixels.shape)}: max abs difference to Pillow's {difference(pixels, own):.2e}")
    if own.shape != pixels.shape:
        sys.exit(f"Pillow's pixels are {tuple(own.shape)}: give the --preprocess of the trace")

    same, whole = sites(model, pixels), sites(model, own)
    unknown = sorted(set(trace) - set(same))
    missing = sorted(set(same) - set(trace))
    order = [name for name in same if name in trace]
    worst = {"same pixels": ("no site", 0.0), "own pixels": ("no site", 0.0)}
    print(f"{'site':<18} {'shape':<18} {'largest':>9} {'same pixels':>12} {'own pixels':>12}")
    for name in order:
        columns = difference(trace[name], same[name]), difference(trace[name], whole[name])
        for column, value in zip(worst, columns):
            worst[column] = max(worst[column], (name, value), key=lambda pair: pair[1])
        largest = same[name].abs().max().item()
        print(f"{name:<18} {str(tuple(same[name].shape)):<18} {largest:>9.3g} {columns[0]:>12.2e} {columns[1]:>12.2e}")
    for column, (name, value) in worst.items():
        print(f"worst, {column}: {value:.2e} at {name}, tolerance {arguments.tolerance:.0e}")
    if missing:
        print(f"not in the file ({len(missing)}): {', '.join(missing[:6])} …")
    if unknown:
        print(f"keys that timm has no site for: {', '.join(unknown)}")
    failed = unknown or not order or any(value > arguments.tolerance for _, value in worst.values())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
