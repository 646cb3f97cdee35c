"""Images per second of timm's DINOv2 encoders in PyTorch, f32 on the CPU, random weights: one JSON object a line.

    python encoder_torch.py [--models dinov2_vits14,dinov2_vitb14] [--sizes 224] [--threads 1,2] [--batches 1,8]
                            [--variants eager,compile,onnx,bf16,bf16all,bf16compile] [--secs 3]

Reads the final tokens, as `encoder_speed` of the Rust crate does. `compile` is torch.compile (needs a C++ compiler),
`onnx` is onnxruntime (needs onnx, onnxscript and onnxruntime), `bf16` is autocast to bfloat16, `bf16compile` the same
compiled, `bf16all` has weights and activations in bfloat16. What cannot be run here is a line with `error` instead of a figure.
"""

import argparse
import copy
import json
import math
import os
import tempfile
import time

import torch

from timm_dinov2 import random_model


VARIANTS = ("eager", "compile", "onnx", "bf16", "bf16all", "bf16compile")


def numbers(text):
    return [int(part) for part in text.split(",")]


def forward_of(variant, model, pixels, threads):
    """A function of no arguments that encodes the batch once."""
    if variant == "eager":
        return lambda: model.forward_features(pixels)
    if variant == "compile":
        compiled = torch.compile(model.forward_features)
        return lambda: compiled(pixels)
    if variant in ("bf16", "bf16compile"):
        forward = model.forward_features if variant == "bf16" else torch.compile(model.forward_features)

        def autocast():
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return forward(pixels)
        return autocast
    if variant == "bf16all":
        rounded = copy.deepcopy(model).to(torch.bfloat16)
        return lambda pixels=pixels.to(torch.bfloat16): rounded.forward_features(pixels)
    if variant == "onnx":
        return onnx_forward(model, pixels, threads)
    raise ValueError(f"unknown variant {variant!r}; use {', '.join(VARIANTS)}")


def onnx_forward(model, pixels, threads):
    import onnxruntime

    class Features(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, image):
            return self.model.forward_features(image)

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "encoder.onnx")
        torch.onnx.export(Features().eval(), (pixels,), path, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: pixels.numpy()}
    difference = abs(session.run(None, feed)[0] - model.forward_features(pixels).numpy()).max()
    if difference > 1e-2:
        raise RuntimeError(f"the exported model differs by {difference}, so its speed means nothing")
    return lambda: session.run(None, feed)


def measure(forward, batch, secs):
    """Images and seconds of a run of about `secs`, after one pass to warm up and one to tell the time."""
    forward()
    started = time.perf_counter()
    forward()
    rounds = max(1, math.ceil(secs / (time.perf_counter() - started)))
    started = time.perf_counter()
    for _ in range(rounds):
        forward()
    return rounds * batch, time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", default="dinov2_vits14,dinov2_vits14_reg4,dinov2_vitb14")
    parser.add_argument("--sizes", type=numbers, default=[224])
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--batches", type=numbers, default=[1, 8])
    parser.add_argument("--variants", default="eager")
    parser.add_argument("--secs", type=float, default=3.0)
    arguments = parser.parse_args()
    variants = arguments.variants.split(",")
    if unknown := set(variants) - set(VARIANTS):
        parser.error(f"unknown variants {', '.join(sorted(unknown))}; use {', '.join(VARIANTS)}")

    generator = torch.Generator().manual_seed(0)
    for name in arguments.models.split(","):
        for size in arguments.sizes:
            model = random_model(name, size)
            for batch in arguments.batches:
                pixels = torch.randn(batch, 3, size, size, generator=generator)
                for threads in arguments.threads:
                    torch.set_num_threads(threads)
                    for variant in variants:
                        line = {"model": name, "variant": variant, "size_px": size, "threads": threads, "batch": batch}
                        try:
                            with torch.inference_mode():
                                forward = forward_of(variant, model, pixels, threads)
                                images, secs = measure(forward, batch, arguments.secs)
                            line |= {"images": images, "secs": secs, "images_per_sec": images / secs}
                        except Exception as error:  # A missing compiler or package must not hide the other figures.
                            line["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
