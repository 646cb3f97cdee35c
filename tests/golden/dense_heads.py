"""Trains a dense head by each recipe for some steps with PyTorch, and writes what it was given and what came out.

    python tests/golden/dense_heads.py > stages/train/src/dense/fit/pytorch.json

Inputs, first weights and the order of views are drawn here and written down, so that both sides have the same ones. The
layers, losses, resizing and optimisers are PyTorch's own (float64, so that whatever differs is ours); schedules of mmcv
and timm are written out from their sources. numpy 2.4.6, torch 2.15.0.
"""

import json
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
RNG = np.random.default_rng(5)
H, W, D, K, PATCH, VIEWS = 3, 4, 5, 3, 14, 5


def draw(*shape, scale=1.0):
    return np.float32(RNG.normal(size=shape) * scale)


def numbers(array):
    # Whole numbers (labels) as such, which halves the file.
    return [int(v) if v == int(v) else float(v) for v in np.asarray(array, np.float64).ravel()]


def views(sites, cls):
    # Channels of different size and place, as real ones are.
    place, size = draw(sites * D), np.exp(draw(sites * D, scale=0.5))
    return [
        {
            "tokens": np.float32(place + size * RNG.normal(size=(H * W, sites * D))),
            "cls": draw(sites * D) if cls else np.float32([]),
        }
        for _ in range(VIEWS)
    ]


def labels(height, width):
    # Classes of unlike frequency: where two are alike at zero weights, a bias has a gradient of exactly 0 in exact sums, and
    # the first step of Adam is the sign of whatever rounding leaves of it.
    return [np.where(RNG.random((height, width)) < 0.15, 255, RNG.choice(K, (height, width), p=[0.55, 0.3, 0.15])).astype(np.uint8) for _ in range(VIEWS)]


def batches(per_step, epochs):
    out = []
    for _ in range(epochs):
        order = RNG.permutation(VIEWS)
        out += [order[i : i + per_step].tolist() for i in range(0, VIEWS, per_step)]
    return out


def as_map(tokens):
    return torch.tensor(np.float64(tokens)).reshape(H, W, -1).permute(2, 0, 1)[None]


def train(head, order, loss_of, optimiser, set_rates, clip=None):
    losses = []
    for step, batch in enumerate(order):
        set_rates(step, optimiser)
        optimiser.zero_grad()
        loss = loss_of(head, batch, step)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(head.parameters(), clip)
        optimiser.step()
        losses.append(loss.item())
    return losses


def write(name, head, names, first, given, truths, order, losses, buffers=()):
    state = dict(head.named_parameters()) | dict(head.named_buffers())
    return {
        "name": name,
        "views": [{k: numbers(v) for k, v in view.items()} for view in given],
        "truth_size": list(truths[0].shape),
        "truths": [numbers(t) for t in truths],
        "order": order,
        "first": [numbers(first[n]) for n in names],
        "losses": losses,
        "last": [numbers(state[n].detach()) for n in names],
        "buffers": [numbers(state[n]) for n in buffers],
    }


def started(head):
    return {n: np.float32(p.detach().numpy()) for n, p in head.named_parameters()}


def in_f32(head):
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.tensor(np.float64(np.float32(p.numpy()))))
    return head


def cells():
    given, truths = views(1, False), labels(20, 26)
    head = torch.nn.Sequential()
    head.conv = torch.nn.Conv2d(D, K, 1)
    torch.nn.init.zeros_(head.conv.weight), torch.nn.init.zeros_(head.conv.bias)
    first, order = started(head), batches(2, 7)
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=len(order))

    def rates(step, _):
        if step:
            scheduler.step()

    def loss(head, batch, _):
        logits = torch.cat([head.conv(as_map(given[i]["tokens"])) for i in batch])
        rows = [int((y + 0.5) * 20 / H) for y in range(H)]
        columns = [int((x + 0.5) * 26 / W) for x in range(W)]
        target = torch.stack([torch.tensor(truths[i][np.ix_(rows, columns)]).long() for i in batch])
        return F.cross_entropy(logits, target, ignore_index=255)

    losses = train(head, order, loss, optimiser, rates)
    return write("cells", head, ["conv.weight", "conv.bias"], first, given, truths, order, losses)


def dinov2_segmentation():
    given, truths = views(1, False), labels(25, 34)
    head = torch.nn.Sequential()
    head.bn, head.conv = torch.nn.BatchNorm2d(D), torch.nn.Conv2d(D, K, 1)
    torch.nn.init.normal_(head.conv.weight, std=0.01), torch.nn.init.zeros_(head.conv.bias)
    first, order = started(in_f32(head)), batches(2, 7)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=1e-4)

    def rates(step, optimiser):
        lr = 1e-3 * (1 - step / len(order))
        if step < 5:
            lr *= 1 - (1 - step / 5) * (1 - 1e-6)
        optimiser.param_groups[0]["lr"] = lr

    def loss(head, batch, _):
        features = torch.cat([as_map(given[i]["tokens"]) for i in batch])
        logits = F.interpolate(head.conv(head.bn(features)), size=(25, 34), mode="bilinear", align_corners=False)
        target = torch.stack([torch.tensor(truths[i]).long() for i in batch])
        # mmsegmentation, avg_non_ignore=False: the mean of all pixels' losses, those ignored being 0.
        return F.cross_entropy(logits, target, ignore_index=255, reduction="none").mean()

    losses = train(head, order, loss, optimiser, rates)
    names = ["bn.weight", "bn.bias", "conv.weight", "conv.bias"]
    return write("dinov2_segmentation", head, names, first, given, truths, order, losses, ["bn.running_mean", "bn.running_var"])


def study_segmentation():
    given, truths = views(1, False), labels(21, 28)
    head = torch.nn.Sequential()
    head.conv = torch.nn.Conv2d(D, K, 1)
    first, order = started(in_f32(head)), batches(2, 7)
    optimiser = torch.optim.SGD(head.parameters(), lr=0.3, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, step_size=2, gamma=0.1)

    def rates(step, _):
        if step and step % 3 == 0:
            scheduler.step()

    def loss(head, batch, _):
        features = torch.cat([as_map(given[i]["tokens"]) for i in batch])
        logits = F.interpolate(head.conv(features), size=(21, 28), mode="bilinear", align_corners=False)
        target = torch.stack([torch.tensor(truths[i]).long() for i in batch])
        return torch.nn.CrossEntropyLoss(ignore_index=255)(logits, target)

    losses = train(head, order, loss, optimiser, rates)
    return write("study_segmentation", head, ["conv.weight", "conv.bias"], first, given, truths, order, losses)


def deit3_segmentation():
    given, truths = views(1, False), labels(21, 28)
    head = torch.nn.Sequential()
    head.up, head.conv = torch.nn.ConvTranspose2d(D, D, 2, 2), torch.nn.Conv2d(D, K, 1)
    first, order = started(in_f32(head)), batches(2, 10)
    weights = [p for p in head.parameters() if p.ndim > 1]
    biases = [p for p in head.parameters() if p.ndim == 1]
    optimiser = torch.optim.AdamW([{"params": weights, "weight_decay": 0.05}, {"params": biases, "weight_decay": 0.0}])

    def rates(step, optimiser):
        epoch, lr = max(step // 3 - 1, 0), 5e-3
        if epoch < 5:
            value = 1e-6 + epoch * (lr - 1e-6) / 5
        else:
            value = 1e-5 + 0.5 * (lr - 1e-5) * (1 + math.cos(math.pi * epoch / 10))
        for group in optimiser.param_groups:
            group["lr"] = value

    def loss(head, batch, _):
        features = torch.cat([as_map(given[i]["tokens"]) for i in batch])
        logits = head.conv(F.gelu(head.up(features)))
        logits = F.interpolate(logits, size=(21, 28), mode="bilinear", align_corners=False)
        target = torch.stack([torch.tensor(truths[i]).long() for i in batch])
        return F.cross_entropy(logits, target, ignore_index=255)

    losses = train(head, order, loss, optimiser, rates)
    names = ["up.weight", "up.bias", "conv.weight", "conv.bias"]
    return write("deit3_segmentation", head, names, first, given, truths, order, losses)


def depth_map(head, view, sites, cls, upsample, low, high):
    parts = []
    for site in range(sites):
        parts.append(as_map(view["tokens"])[:, site * D : (site + 1) * D])
        if cls:
            own = torch.tensor(np.float64(view["cls"][site * D : (site + 1) * D]))
            parts.append(own[None, :, None, None].expand(1, D, H, W))
    features = torch.cat(parts, 1)
    if upsample > 1:
        features = F.interpolate(features, scale_factor=upsample, mode="bilinear", align_corners=False)
    q = torch.relu(head.conv(features)) + 0.1
    q = q / q.sum(1, keepdim=True)
    bins = torch.linspace(low, high, q.shape[1])
    return torch.einsum("ikmn,k->imn", q, bins)[:, None]


def depths(height, width, high):
    return [np.round(np.where(RNG.random((height, width)) < 0.2, 0, RNG.uniform(0.1, 1, (height, width)) * high) * 1000) / 1000 for _ in range(VIEWS)]


def nyu_linear(sites, bins):
    given, truths = views(sites, True), depths(20, 27, 10.0)
    head = torch.nn.Sequential()
    head.conv = torch.nn.Conv2d(2 * sites * D, bins, 1)
    if bins == 256:
        # Eighths are short to write.
        head.conv.weight.data = torch.round(head.conv.weight.data * 8) / 8
    first, order = started(in_f32(head)), batches(3, 10)
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-2, weight_decay=0.01)
    steps = len(order)

    def annealed(start, end, part):
        return end + 0.5 * (start - end) * (1 + math.cos(math.pi * part))

    def rates(step, optimiser):
        lr = annealed(1e-2, 1e-2 * 1e-8, step / steps)
        if step < 6:
            lr *= 1 - (1 - step / 6) * (1 - 1e-3)
        turn = 0.3 * steps - 1
        if step <= turn:
            beta = annealed(0.95, 0.85, step / turn)
        else:
            beta = annealed(0.85, 0.95, (step - turn) / (steps - 1 - turn))
        optimiser.param_groups[0].update(lr=lr, betas=(beta, 0.999))

    def loss(head, batch, step):
        losses = []
        for group in (batch[:2], batch[2:]):
            if not group:
                continue
            pred = torch.cat([depth_map(head, given[i], sites, True, 4, 0.001, 10.0) for i in group])
            pred = F.interpolate(pred, size=(20, 27), mode="bilinear", align_corners=False)[:, 0]
            gt = torch.stack([torch.tensor(truths[i]) for i in group])
            g = torch.log(pred[gt > 0] + 0.001) - torch.log(gt[gt > 0] + 0.001)
            loss = 0.15 * torch.pow(torch.mean(g), 2)
            losses.append(torch.sqrt(loss if step < 4 else torch.var(g) + loss))
        return sum(losses) / len(losses)

    losses = train(head, order, loss, optimiser, rates, clip=0.05)
    return write(f"nyu_linear_{bins}", head, ["conv.weight", "conv.bias"], first, given, truths, order, losses)


def depth_cells():
    given, truths = views(1, False), depths(21, 28, 1.0)
    head = torch.nn.Sequential()
    head.conv = torch.nn.Conv2d(D, 32, 1)
    first, order = started(in_f32(head)), batches(2, 7)
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=len(order))

    def rates(step, _):
        if step:
            scheduler.step()

    def loss(head, batch, _):
        pred = torch.cat([depth_map(head, given[i], 1, False, 1, 0.001, 1.0) for i in batch])
        rows = [int((y + 0.5) * 21 / H) for y in range(H)]
        columns = [int((x + 0.5) * 28 / W) for x in range(W)]
        pred, gt = pred[:, 0], torch.stack([torch.tensor(truths[i][np.ix_(rows, columns)]) for i in batch])
        return F.mse_loss(pred[gt > 0], gt[gt > 0])

    losses = train(head, order, loss, optimiser, rates)
    return write("depth_cells", head, ["conv.weight", "conv.bias"], first, given, truths, order, losses)


def main():
    torch.manual_seed(5)
    torch.set_num_threads(1)
    # lin.4 has several sites, lin.1 one; all 256 bins for the smaller of the two.
    cases = [cells(), dinov2_segmentation(), study_segmentation(), deit3_segmentation(), nyu_linear(2, 16), nyu_linear(1, 256), depth_cells()]
    # Nine digits give every f32 back; of what comes out, seven are beyond what the test asks for.
    for case in cases:
        case["last"] = [[float(f"{v:.7g}") for v in tensor] for tensor in case["last"]]
    text = json.dumps(cases, default=float)
    json.dump(json.loads(text, parse_float=lambda s: float(f"{float(s):.9g}")), sys.stdout, separators=(",", ":"))
    sys.stdout.write("\n")


main()
