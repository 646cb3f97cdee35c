"""The official DINOv2 weights in timm's ViT: tensors mapped by timm's own filter, positions resized by a named rule.

Rules, for a grid of M×M positions resized to n×m (they differ by up to 2 % in the norms of the last block at 224 px):

    official   bicubic a = -0.75, sampling step M / (n + 0.1), no antialias: facebookresearch/dinov2, models without registers
    antialias  bicubic a = -0.5, antialias, step M / n: facebookresearch/dinov2 with registers, and timm for every model
"""

import pathlib

import timm
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import checkpoint_filter_fn

# Our name: timm's name, registers. The position table of the first three has a row for CLS.
MODELS = {
    "dinov2_vits14": ("vit_small_patch14_dinov2.lvd142m", 0),
    "dinov2_vitb14": ("vit_base_patch14_dinov2.lvd142m", 0),
    "dinov2_vitl14": ("vit_large_patch14_dinov2.lvd142m", 0),
    "dinov2_vits14_reg4": ("vit_small_patch14_reg4_dinov2.lvd142m", 4),
    "dinov2_vitb14_reg4": ("vit_base_patch14_reg4_dinov2.lvd142m", 4),
    "dinov2_vitl14_reg4": ("vit_large_patch14_reg4_dinov2.lvd142m", 4),
}


def random_model(name, height, width=None):
    """`name` with timm's random initialisation, for speed alone."""
    timm_name, _ = MODELS[name]
    return timm.create_model(timm_name, pretrained=False, img_size=(height, width or height), num_classes=0).eval()


def load_model(name, weights, height, width, positions=None):
    """`name` with the tensors of an official file. `positions` is a rule above; the model's own by default."""
    _, registers = MODELS[name]
    model = random_model(name, height, width)
    tensors = read_tensors(weights)
    # In its released form the file may hold a token for masked training, which no encoder uses.
    filtered = checkpoint_filter_fn(dict(tensors), model)
    filtered.pop("mask_token", None)
    positions = positions or ("antialias" if registers else "official")
    if positions == "official":
        grid = (height // model.patch_embed.patch_size[0], width // model.patch_embed.patch_size[1])
        table = official_positions(tensors["pos_embed"], grid)
        # timm keeps no CLS row for models with registers: its filter has added that row to the CLS token.
        filtered["pos_embed"] = table[:, 1:] if model.pos_embed.shape[1] == grid[0] * grid[1] else table
    elif positions != "antialias":
        raise ValueError(f"unknown rule for positions {positions!r}; use official or antialias")
    model.load_state_dict(filtered)
    return model


def read_tensors(path):
    """Tensors by name, of safetensors or of a file of torch.save."""
    if pathlib.Path(path).suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def official_positions(table, grid):
    """`[1, 1 + M·M, D]` → `[1, 1 + n·m, D]`: DinoVisionTransformer.interpolate_pos_encoding with offset 0.1."""
    cls, patches = table[:, :1], table[:, 1:]
    side, width = round(patches.shape[1] ** 0.5), patches.shape[2]
    if grid == (side, side):
        return table
    square = patches.reshape(1, side, side, width).permute(0, 3, 1, 2)
    factors = tuple((n + 0.1) / side for n in grid)
    resized = torch.nn.functional.interpolate(square, scale_factor=factors, mode="bicubic")
    assert resized.shape[2:] == torch.Size(grid), f"positions came out as {tuple(resized.shape[2:])}, not {grid}"
    return torch.cat([cls, resized.permute(0, 2, 3, 1).reshape(1, -1, width)], dim=1)
