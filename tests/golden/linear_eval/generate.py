"""Writes steps.safetensors: DINOv2's 52 linear heads after 50 steps of torch's SGD on made-up vectors.

As facebookresearch/dinov2 eval/linear.py: one LinearClassifier for each of 13 rates, 1 or 4 blocks, with and without the
mean patch; the sum of their cross-entropies; SGD with momentum 0.9 and no weight decay; cosine to 0 in every step.
Run with the versions of ../requirements.txt:  python generate.py
"""

import pathlib

import torch
from safetensors.torch import save_file

SAMPLES, WIDTH, CLASSES, BATCH, STEPS = 96, 8, 5, 64, 50
RATES = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]


def create_linear_input(x, blocks, avgpool):
    """x: [B, 4 CLS tokens, oldest first, and the mean patch]."""
    features = [x[:, i] for i in range(4 - blocks, 4)]
    return torch.cat(features + [x[:, 4]] * avgpool, dim=-1)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    labels = torch.randint(0, CLASSES, (SAMPLES,))
    x = 2 * torch.randn(SAMPLES, 5, WIDTH) + torch.randn(CLASSES, 5, WIDTH)[labels]
    order = torch.stack([torch.randperm(SAMPLES)[:BATCH] for _ in range(STEPS)])

    heads, groups = {}, []
    for blocks in [1, 4]:
        for avgpool in [False, True]:
            for rate in RATES:
                linear = torch.nn.Linear((blocks + avgpool) * WIDTH, CLASSES)
                linear.weight.data.normal_(mean=0.0, std=0.01)
                linear.bias.data.zero_()
                name = f"blocks{blocks}{'-avgpool' * avgpool}-{len(groups) % len(RATES)}"
                heads[name] = (linear, blocks, avgpool)
                groups.append({"params": linear.parameters(), "lr": rate * BATCH / 256})
    out = {"x": x.flatten(1), "labels": labels.int(), "order": order.int()}
    out |= {f"first/{name}": head[0].weight.data.clone() for name, head in heads.items()}

    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=0)
    losses = []
    for batch in order:
        losses.append([])
        for linear, blocks, avgpool in heads.values():
            logits = linear(create_linear_input(x[batch], blocks, avgpool))
            losses[-1].append(torch.nn.functional.cross_entropy(logits, labels[batch]))
        optimizer.zero_grad()
        sum(losses[-1]).backward()
        optimizer.step()
        scheduler.step()
    out["losses"] = torch.tensor([[float(l) for l in row] for row in losses])
    for name, (linear, _, _) in heads.items():
        out[f"weight/{name}"], out[f"bias/{name}"] = linear.weight.data, linear.bias.data
    # Of the last heads: how many samples are classified well, first and among the first five of the classes.
    right = [(head[0](create_linear_input(x, *head[1:])).argmax(1) == labels).sum() for head in heads.values()]
    out["right"] = torch.stack(right).int()
    save_file(out, pathlib.Path(__file__).parent / "steps.safetensors")
    print(out["losses"][[0, -1]][:, [0, 12, 25, 38, 51]], out["right"])


main()
