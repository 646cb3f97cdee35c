"""Writes `fixtures/`: tiny checkpoints of every family and naming, and the reference's value at every site.

Every model: width 24, 2 blocks, 3 heads, patches of 4 px, trained on 16x16 px (a 4x4 grid), FFN hidden 48.
"""

import math
import os
import tempfile
import zlib
from functools import partial
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from timm.layers import Mlp, QuickGELU, SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer

from recorder import run_hf, run_hf_clip, run_open_clip, run_timm

OUT = Path(__file__).parent / "fixtures"
D, DEPTH, HEADS, PATCH, GRID, HIDDEN = 24, 2, 3, 4, 4, 48
IMAGE = PATCH * GRID
NATIVE, OBLONG = (IMAGE, IMAGE), (12, 20)
# As many patches as the training grid, in another shape: must be interpolated all the same.
SAME_COUNT = (8, 32)


def seed(case):
    torch.manual_seed(zlib.crc32(case.encode()))


@torch.no_grad()
def randomise(model):
    """Weights at which every site, norm, bias and position matters to more than 1e-4."""
    for name, p in model.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        if "norm" in name or "ln_" in name:
            p.copy_(torch.randn_like(p) * 0.2 + (1.0 if leaf == "weight" else 0.0))
        elif leaf in ("gamma", "lambda1"):
            p.copy_(torch.rand_like(p) * 0.7 + 0.3)
        elif leaf in ("bias", "in_proj_bias"):
            p.copy_(torch.randn_like(p) * 0.1)
        elif p.ndim >= 2 and "token" not in name and "pos" not in name:
            p.copy_(torch.randn_like(p) / math.sqrt(p[0].numel()))
        else:
            p.copy_(torch.randn_like(p) * 0.5)
    return model


def images(sizes):
    return {f"{h}x{w}": torch.randn(1, 3, h, w) for h, w in sizes}


def write_expected(case, per_size):
    flat = {}
    for size, (pixels, sites) in per_size.items():
        flat[f"{size}/pixels"] = pixels[0].contiguous()
        flat.update({f"{size}/{site}": value.float().contiguous() for site, value in sites.items()})
    save_file(flat, OUT / f"{case}.expected.safetensors")


def write(case, state, per_size):
    save_file({k: v.detach().contiguous().clone() for k, v in state.items()}, OUT / f"{case}.safetensors")
    write_expected(case, per_size)


def run_sizes(run, model, sizes=(NATIVE, OBLONG)):
    return {size: (pixels, run(model, pixels)) for size, pixels in images(sizes).items()}


# ---------------------------------------------------------------- timm

def timm_vit(**kwargs):
    defaults = dict(img_size=IMAGE, patch_size=PATCH, embed_dim=D, depth=DEPTH, num_heads=HEADS, mlp_ratio=HIDDEN / D,
                    num_classes=0, dynamic_img_size=True)
    return VisionTransformer(**{**defaults, **kwargs})


SWIGLU = dict(mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU, mlp_ratio=2 * HIDDEN / D)
CLIP = dict(pre_norm=True, norm_layer=partial(torch.nn.LayerNorm, eps=1e-5))
TIMM = {
    "timm_dinov2": dict(init_values=1e-5),
    "timm_dinov2_reg4": dict(init_values=1e-5, reg_tokens=4, no_embed_class=True),
    "timm_dinov2_swiglu": dict(init_values=1e-5, **SWIGLU),
    "timm_deit3": dict(init_values=1e-4, no_embed_class=True, num_classes=3),
    "timm_dino": dict(num_classes=3),
    "timm_clip": dict(num_classes=8, **CLIP),
    "timm_clip_quickgelu": dict(num_classes=8, act_layer=QuickGELU, mlp_layer=Mlp, **CLIP),
}


def timm_cases():
    for case, kwargs in TIMM.items():
        seed(case)
        model = randomise(timm_vit(**kwargs))
        write(case, model.state_dict(), run_sizes(run_timm, model))


# ---------------------------------------------------------------- official names

def resized(pos, size, rule, has_cls):
    """Position table for an image of `size` px, by the arguments that the official code gives to `interpolate`."""
    gh, gw = size[0] // PATCH, size[1] // PATCH
    if (gh, gw) == (GRID, GRID):
        return pos
    cls, grid = (pos[:, :1], pos[:, 1:]) if has_cls else (pos[:, :0], pos)
    grid = grid.reshape(1, GRID, GRID, D).permute(0, 3, 1, 2)
    if rule == "offset":  # dinov2, dino: interpolate_offset 0.1
        args = dict(scale_factor=((gh + 0.1) / GRID, (gw + 0.1) / GRID))
    elif rule == "antialias":  # dinov2 with registers: interpolate_antialias, offset 0
        args = dict(size=(gh, gw), antialias=True)
    else:  # deit loader, mae util/pos_embed.py
        args = dict(size=(gh, gw), align_corners=False)
    grid = F.interpolate(grid, mode="bicubic", **args)
    assert grid.shape[-2:] == (gh, gw)
    return torch.cat([cls, grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def official_reference(model, kwargs, rule, sizes):
    """Sites of the timm model when positions are resized as the official code does."""
    has_cls = not kwargs.get("no_embed_class", False)
    state, per_size = model.state_dict(), {}
    for key, pixels in images(sizes).items():
        size = pixels.shape[-2:]
        fixed = timm_vit(**{**kwargs, "img_size": tuple(size), "dynamic_img_size": False})
        fixed.load_state_dict({**state, "pos_embed": resized(state["pos_embed"], size, rule, has_cls)})
        per_size[key] = (pixels, run_timm(fixed, pixels))
    return per_size


def swiglu_names(key):
    return key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")


def official_cases():
    # DINOv2: the teacher of a training run, in four element types, with a tensor that is not contiguous and two
    # that share a storage.
    case, kwargs = "official_dinov2", TIMM["timm_dinov2"]
    seed(case)
    model, kinds = randomise(timm_vit(**kwargs)), {}
    for name, p in model.named_parameters():
        kinds[name] = (torch.float16 if "blocks.0.attn" in name else torch.bfloat16 if "blocks.1.mlp" in name
                       else torch.float64 if name.startswith("norm") else torch.float32)
        p.data = p.data.to(kinds[name]).float()
    expected = official_reference(model, kwargs, "offset", (NATIVE, OBLONG, SAME_COUNT))
    state = {k: v.to(kinds[k]) for k, v in model.state_dict().items()}
    state["blocks.1.attn.proj.weight"] = state["blocks.1.attn.proj.weight"].T.contiguous().T
    both = torch.cat([state["blocks.0.ls1.gamma"], state["blocks.0.ls2.gamma"]])
    state["blocks.0.ls1.gamma"], state["blocks.0.ls2.gamma"] = both[:D], both[D:]
    state["mask_token"] = torch.zeros(1, D)
    teacher = {f"backbone.{k}": v for k, v in state.items()} | {"dino_head.mlp.0.weight": torch.zeros(2, D)}
    torch.save({"teacher": teacher}, OUT / f"{case}.pth")
    write_expected(case, expected)

    # DINOv2 with registers: blocks in chunks of one, CLS and its position apart.
    case, kwargs = "official_dinov2_reg4", TIMM["timm_dinov2_reg4"]
    seed(case)
    model = randomise(timm_vit(**kwargs))
    expected = official_reference(model, kwargs, "antialias", (NATIVE, OBLONG))
    state, cls_pos = dict(model.state_dict()), torch.randn(1, 1, D)
    state["register_tokens"] = state.pop("reg_token")
    state["pos_embed"] = torch.cat([cls_pos, state["pos_embed"]], dim=1)
    state["cls_token"] = state["cls_token"] - cls_pos
    state["mask_token"] = torch.zeros(1, D)
    chunked = {f"blocks.{k.split('.')[1]}.{k[len('blocks.'):]}" if k.startswith("blocks.") else k: v for k, v in state.items()}
    torch.save(chunked, OUT / f"{case}.pth")
    write_expected(case, expected)

    case, kwargs = "official_dinov2_swiglu", TIMM["timm_dinov2_swiglu"]
    seed(case)
    model = randomise(timm_vit(**kwargs))
    expected = official_reference(model, kwargs, "offset", (NATIVE, OBLONG))
    torch.save({swiglu_names(k): v for k, v in model.state_dict().items()}, OUT / f"{case}.pth")
    write_expected(case, expected)

    case, kwargs = "official_deit3", TIMM["timm_deit3"]
    seed(case)
    model = randomise(timm_vit(**kwargs))
    expected = official_reference(model, kwargs, "bicubic", (NATIVE, OBLONG))
    state = {k.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): v for k, v in model.state_dict().items()}
    torch.save({"model": state, "epoch": 7}, OUT / f"{case}.pth")
    write_expected(case, expected)

    # DINO: a whole training checkpoint; the teacher is the model.
    case, kwargs = "official_dino", {}
    seed(case)
    model = randomise(timm_vit(**kwargs))
    expected = official_reference(model, kwargs, "offset", (NATIVE, OBLONG))
    head = {"head.mlp.0.weight": torch.zeros(2, D)}
    teacher = {f"backbone.{k}": v for k, v in model.state_dict().items()} | head
    student = {f"module.backbone.{k}": torch.zeros(1) for k in model.state_dict()}
    torch.save({"student": student, "teacher": teacher, "optimizer": {"state": {}}, "epoch": 100}, OUT / f"{case}.pth")
    write_expected(case, expected)

    case, kwargs = "official_mae", {}
    seed(case)
    model = randomise(timm_vit(**kwargs))
    expected = official_reference(model, kwargs, "bicubic", (NATIVE, OBLONG))
    decoder = {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, D), "decoder_norm.bias": torch.zeros(8)}
    torch.save({"model": dict(model.state_dict()) | decoder}, OUT / f"{case}.pth")
    write_expected(case, expected)


# ---------------------------------------------------------------- Hugging Face

HF = dict(hidden_size=D, num_hidden_layers=DEPTH, num_attention_heads=HEADS, patch_size=PATCH, image_size=IMAGE,
          attn_implementation="eager")


def published(model):
    """The state dict under the names that files on the hub have."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(os.path.join(folder, "model.safetensors"))


def run_mae(model, pixels):
    # Nothing masked, and noise that sorts into itself: the patches keep their order.
    patches = pixels.shape[-1] * pixels.shape[-2] // PATCH**2
    return run_hf(model, pixels, noise=torch.arange(patches)[None].float(), interpolate_pos_encoding=True)


def hf_cases():
    t = transformers
    seed("hf_dinov2")
    whole = randomise(t.Dinov2ForImageClassification(t.Dinov2Config(**HF, mlp_ratio=HIDDEN // D, num_labels=3)))
    write("hf_dinov2", published(whole), run_sizes(run_hf, whole.dinov2))

    seed("hf_dinov2_swiglu")
    model = randomise(t.Dinov2Model(t.Dinov2Config(**HF, mlp_ratio=3, use_swiglu_ffn=True)))
    write("hf_dinov2_swiglu", published(model), run_sizes(run_hf, model))

    seed("hf_dinov2_reg4")
    config = t.Dinov2WithRegistersConfig(**HF, mlp_ratio=HIDDEN // D, num_register_tokens=4)
    model = randomise(t.Dinov2WithRegistersModel(config))
    write("hf_dinov2_reg4", published(model), run_sizes(run_hf, model))

    seed("hf_vit")
    model = randomise(t.ViTModel(t.ViTConfig(**HF, intermediate_size=HIDDEN, layer_norm_eps=1e-6)))
    write("hf_vit", published(model), run_sizes(partial(run_hf, interpolate_pos_encoding=True), model))

    seed("hf_vit_mae")
    config = t.ViTMAEConfig(**HF, intermediate_size=HIDDEN, layer_norm_eps=1e-6, mask_ratio=0.0, decoder_hidden_size=8,
                            decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=8)
    whole = randomise(t.ViTMAEForPreTraining(config))
    write("hf_vit_mae", published(whole), run_sizes(run_mae, whole.vit))

    seed("hf_clip")
    text = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=16,
                max_position_embeddings=8, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    vision = dict(**HF, intermediate_size=HIDDEN, hidden_act="quick_gelu")
    config = t.CLIPConfig(vision_config=vision, text_config=text, projection_dim=8, attn_implementation="eager")
    whole = randomise(t.CLIPModel(config))
    write("hf_clip", published(whole), run_sizes(run_hf_clip, whole.vision_model))


# ---------------------------------------------------------------- OpenCLIP

TEXT = dict(context_length=4, vocab_size=8, width=8, heads=2, layers=1)


def open_clip_model(image_size, quick_gelu):
    vision = dict(image_size=image_size, patch_size=PATCH, width=D, layers=DEPTH, head_width=D // HEADS, mlp_ratio=HIDDEN / D)
    return open_clip.CLIP(embed_dim=8, vision_cfg=vision, text_cfg=TEXT, quick_gelu=quick_gelu)


def open_clip_reference(model, quick_gelu):
    """The native size, and a larger one through OpenCLIP's loader; it knows square images only."""
    per_size = run_sizes(lambda m, pixels: run_open_clip(m.visual, pixels), model, (NATIVE,))
    larger = open_clip_model(24, quick_gelu)
    state = dict(model.state_dict())
    open_clip.model.resize_pos_embed(state, larger)
    larger.load_state_dict(state)
    return per_size | run_sizes(lambda m, pixels: run_open_clip(m.visual, pixels), larger, ((24, 24),))


def open_clip_cases():
    seed("open_clip")
    model = randomise(open_clip_model(IMAGE, False))
    write("open_clip", model.state_dict(), open_clip_reference(model, False))

    seed("open_clip_quickgelu")
    model = randomise(open_clip_model(IMAGE, True))
    expected = open_clip_reference(model, True)
    state = {f"module.{k}": v for k, v in model.state_dict().items()}
    torch.save({"state_dict": state}, OUT / "open_clip_quickgelu.pth")
    write_expected("open_clip_quickgelu", expected)


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    timm_cases()
    official_cases()
    hf_cases()
    open_clip_cases()
    for file in OUT.iterdir():
        file.chmod(0o644)
    print(f"{sum(file.stat().st_size for file in OUT.iterdir()) / 1e6:.2f} MB")
