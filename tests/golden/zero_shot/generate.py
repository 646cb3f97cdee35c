"""Writes what `open_clip` makes of texts and of tiny models: `tokens.json`, `expected.json` and lists of names.

The models are those of `formula.py`: two blocks, an image tower of width 64 (patches of 4 px on 16x16 px, heads of 32),
a text tower of width 128 (heads of 64) with the whole vocabulary, 32 channels in common. Versions: ../requirements.txt.
"""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
from transformers import CLIPConfig, CLIPModel

from formula import uniform, weight

OUT = Path(__file__).parent
torch.set_num_threads(1)
tokenizer = open_clip.tokenizer.SimpleTokenizer()

UNUSUAL = [
    "", " ", "a", "A  Photo\tof\n a   CAT.", "don't they're I'd we'll it's I'm you've", "DON'T'S", "rock 'n' roll", "''", "'s",
    "2024 is 365 days", "3.14159", "no1 a1b2c3", "½ ² ⅷ ٣", "100%", "a_b-c/d\\e", "!!!???...", "(parentheses) [brackets] {braces}",
    "naïve café façade", "Ångström", "ÉCOLE ÜBER", "İstanbul", "ΟΔΥΣΣΕΥΣ", "Straße", "ﷺ", "e\u0301 combined", "ñandu\u0303",
    "東京タワー", "中文 测试 abc", "한국어 텍스트", "Привет, мир", "שלום עולם", "مرحبا بالعالم", "हिन्दी पाठ", "ไทย", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "🐱", "🐱🐶 cat and dog 👨‍👩‍👧",
    "🇫🇷 flag", "☃ snowman ❄", "€ £ ¥ $", "<start_of_text>", "a <end_of_text> b", "!<start_of_text>", "<START_OF_TEXT>", "<|endoftext|>",
    "it’s “quoted” text", "AT&amp;T", "&lt;tag&gt;", "&amp;amp;", "&#65;&#x42;", "&quot;x&quot;", "a&b", "&", "&;", "&#;", "tom & jerry",
    "zero\u200bwidth", "non\u00a0breaking", "thin\u2009space", "em\u2014dash", "ideographic\u3000space",
    "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis", "x" * 200, "ha" * 100,
    "word " * 75, "word " * 76, "word " * 100, "a photo of a " + "very " * 80 + "long sentence.", "1 " * 90, "🐱" * 60, "... " * 80,
    "https://example.org/a?b=c&d=e#f", "user@example.org", "C++ and C# and F#", "jack-o'-lantern", "o'clock 'tis 'twas", "'ſ 'S",
    "\u00ad soft", "Ⅷ Ⅻ", "①②③", "¹²³", "x̄ ȳ",
]


def token_cases():
    classes = [name for i, name in enumerate(IMAGENET_CLASSNAMES) if i % 250 == 7]
    prompts = [template(name) for name in classes[:3] for template in OPENAI_IMAGENET_TEMPLATES]
    odd = [name for name in IMAGENET_CLASSNAMES if any(not (c.isalpha() or c == " ") for c in name)]
    texts = list(dict.fromkeys(UNUSUAL + prompts + odd))
    cases = []
    for text, row in zip(texts, tokenizer(texts).tolist()):
        count = min(2 + len(tokenizer.encode(text)), len(row))
        assert not any(row[count:])
        cases.append({"text": text, "ids": row[:count]})
    return cases


PROMPTS = ["a photo of a cat.", "a", "", "don't 🐱 42", "word " * 100, "a <end_of_text> b", "the plastic jack-o'-lantern."]
CLASSES = ["tench", "jack-o'-lantern", "great white shark", "CD player", "café"]
TEMPLATES = ["a photo of a {}.", "itap of the {}.", "a {} in a video game."]


def model(quick_gelu):
    vision = CLIPVisionCfg(layers=2, width=64, head_width=32, patch_size=4, image_size=16, mlp_ratio=2.0)
    text = CLIPTextCfg(width=128, heads=2, layers=2)
    net = CLIP(32, vision, text, quick_gelu=quick_gelu).eval()
    state = net.state_dict()
    for name, tensor in state.items():
        if name != "logit_scale":
            state[name] = torch.from_numpy(weight(name, tuple(tensor.shape)))
    net.load_state_dict(state)
    return net


@torch.no_grad()
def expected(quick_gelu):
    net = model(quick_gelu)
    images = torch.stack([torch.from_numpy(uniform(f"image {i}", 3 * 16 * 16)).reshape(3, 16, 16) for i in range(8)])
    image = net.encode_image(images)
    classifier = open_clip.build_zero_shot_classifier(net, tokenizer, CLASSES, TEMPLATES)
    unit = image / image.norm(dim=-1, keepdim=True)
    return {
        "text": net.encode_text(tokenizer(PROMPTS)).tolist(),
        "image": image.tolist(),
        "classes": classifier.T.tolist(),
        "logits": (100.0 * unit @ classifier).tolist(),
    }


# Folders of ImageNet by their place in its order, two pairs of one name among them.
FOLDERS = [0, 1, 2, 657, 744, 836, 837, 999]


@torch.no_grad()
def photos():
    """Eight photos of 16x16 px as bytes, and the labels that give the k-th best class to the k-th photo."""
    net = model(False)
    pixels = np.stack([((uniform(f"photo {i}", 16 * 16 * 3) + 1) * 128).astype(np.uint8) for i in range(8)])
    mean, std = np.float32(open_clip.OPENAI_DATASET_MEAN), np.float32(open_clip.OPENAI_DATASET_STD)
    values = (pixels.reshape(8, 16, 16, 3).astype(np.float32) / 255 - mean) / std
    image = net.encode_image(torch.from_numpy(values).permute(0, 3, 1, 2), normalize=True)
    names = [IMAGENET_CLASSNAMES[i] for i in FOLDERS]
    classifier = open_clip.build_zero_shot_classifier(net, tokenizer, names, OPENAI_IMAGENET_TEMPLATES)
    logits = (100.0 * image @ classifier).numpy()
    order = np.argsort(-logits, axis=1, kind="stable")
    gaps = -np.diff(np.sort(-logits, axis=1), axis=1)
    print("smallest gap between logits that differ", np.abs(gaps)[np.abs(gaps) > 0].min())
    labels = [int(order[i, i % 7]) for i in range(8)]
    return {"logits": logits.tolist(), "labels": labels}


def write_names(path, state):
    lines = [f"{name} {'x'.join(map(str, tensor.shape)) or 'scalar'}\n" for name, tensor in sorted(state.items())]
    (OUT / path).write_text("".join(lines))


cases = token_cases()
print(len(cases), "texts")
(OUT / "tokens.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
found = {"gelu": expected(False), "quick_gelu": expected(True), "photos": photos()}
head = {"prompts": PROMPTS, "classes": CLASSES, "templates": TEMPLATES}
(OUT / "expected.json").write_text(json.dumps(head | found) + "\n")
write_names("tiny.txt", model(False).state_dict())
write_names("vit_b_16.txt", open_clip.create_model("ViT-B-16").state_dict())
tower = dict(num_hidden_layers=2, num_attention_heads=2)
hf = CLIPModel(CLIPConfig(
    text_config=dict(hidden_size=128, intermediate_size=512, projection_dim=32, **tower),
    vision_config=dict(hidden_size=64, intermediate_size=128, image_size=16, patch_size=4, projection_dim=32, **tower),
    projection_dim=32,
))
write_names("hf_clip.txt", hf.state_dict())
