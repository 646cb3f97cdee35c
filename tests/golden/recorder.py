"""Runs a reference model and keeps every site of one image, in the layout of `vit::Site`."""

import contextlib

import torch


def _tokens(value):
    """[1, N, D], [1, gh, gw, D] or a tuple around one of them as [N, D]."""
    value = value[0] if isinstance(value, tuple) else value
    return value.detach().reshape(-1, value.shape[-1]).clone()


def _channels_first(value):
    """[1, D, gh, gw] as [gh*gw, D]."""
    return value.detach().flatten(2)[0].T.contiguous().clone()


class Recorder(contextlib.AbstractContextManager):
    """Hooks that fill `sites` during one forward pass."""

    def __init__(self):
        self.sites, self._handles = {}, []

    def __exit__(self, *_):
        for handle in self._handles:
            handle.remove()

    def output(self, module, site, convert=_tokens):
        self._handles.append(module.register_forward_hook(lambda _m, _i, out: self.sites.__setitem__(site, convert(out))))

    def input(self, module, site, convert=_tokens):
        def keep(_module, args, kwargs):
            self.sites[site] = convert(args[0] if args else next(iter(kwargs.values())))

        self._handles.append(module.register_forward_pre_hook(keep, with_kwargs=True))

    def thirds(self, module, i):
        def keep(_module, _args, out):
            for name, part in zip(("query", "key", "value"), out.chunk(3, dim=-1)):
                self.sites[f"{name}_{i}"] = _tokens(part)

        self._handles.append(module.register_forward_hook(keep))


@torch.no_grad()
def run_timm(model, pixels):
    model.eval()
    with Recorder() as rec:
        rec.output(model.patch_embed, "patch_embed")
        rec.input(model.blocks[0], "with_position")
        for i, block in enumerate(model.blocks):
            block.attn.fused_attn = False
            rec.thirds(block.attn.qkv, i)
            rec.input(block.attn.attn_drop, f"attention_{i}", lambda a: a.detach()[0].clone())
            rec.output(block, f"block_{i}")
        rec.output(model.norm, "final")
        model.forward_features(pixels)
    return rec.sites


@torch.no_grad()
def run_hf(model, pixels, **kwargs):
    """Dinov2Model, Dinov2WithRegistersModel, ViTModel, ViTMAEModel."""
    model.eval()
    layers = model.encoder.layer if hasattr(model, "encoder") else model.layers
    with Recorder() as rec:
        rec.output(model.embeddings.patch_embeddings, "patch_embed")
        rec.input(layers[0], "with_position")
        for i, layer in enumerate(layers):
            for name in ("query", "key", "value"):
                rec.output(getattr(layer.attention, f"{name[0]}_proj"), f"{name}_{i}")
            rec.output(layer, f"block_{i}")
        rec.output(model.layernorm, "final")
        out = model(pixels, output_attentions=True, **kwargs)
    for i, attention in enumerate(out.attentions):
        rec.sites[f"attention_{i}"] = attention.detach()[0].clone()
    return rec.sites


@torch.no_grad()
def run_hf_clip(model, pixels):
    """CLIPVisionModel; the final norm, which it gives to CLS only, is applied to every token."""
    model.eval()
    with Recorder() as rec:
        rec.output(model.embeddings.patch_embedding, "patch_embed", _channels_first)
        rec.input(model.encoder.layers[0], "with_position")
        for i, layer in enumerate(model.encoder.layers):
            for name in ("query", "key", "value"):
                rec.output(getattr(layer.self_attn, f"{name[0]}_proj"), f"{name}_{i}")
            rec.output(layer, f"block_{i}")
        out = model(pixels, output_attentions=True, interpolate_pos_encoding=True)
    for i, attention in enumerate(out.attentions):
        rec.sites[f"attention_{i}"] = attention.detach()[0].clone()
    rec.sites["final"] = _tokens(model.post_layernorm(out.last_hidden_state))
    return rec.sites


@torch.no_grad()
def run_open_clip(visual, pixels):
    """VisionTransformer of open_clip; q, k, v are read off the packed projection of nn.MultiheadAttention."""
    visual.eval()
    with Recorder() as rec:
        rec.output(visual.conv1, "patch_embed", _channels_first)
        rec.input(visual.transformer.resblocks[0], "with_position")
        for i, block in enumerate(visual.transformer.resblocks):
            rec.output(block.ln_1, f"normed_{i}")
            rec.output(block, f"block_{i}")
        rec.output(visual.ln_post, "final")
        visual(pixels)
    for i, block in enumerate(visual.transformer.resblocks):
        x = rec.sites.pop(f"normed_{i}")[None]
        packed = torch.nn.functional.linear(x, block.attn.in_proj_weight, block.attn.in_proj_bias)
        for name, part in zip(("query", "key", "value"), packed.chunk(3, dim=-1)):
            rec.sites[f"{name}_{i}"] = _tokens(part)
        weights = block.attn(x, x, x, need_weights=True, average_attn_weights=False)[1]
        rec.sites[f"attention_{i}"] = weights[0].clone()
    return rec.sites
