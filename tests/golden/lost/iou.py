"""Writes `iou.txt`: pairs of boxes of whole pixels with their overlap as torchvision computes it, in f64."""

from pathlib import Path

import torch
from torchvision.ops import box_iou

torch.manual_seed(7)
n = 200
corners = torch.randint(0, 60, (2, n, 4)).double()
first, second = (torch.cat([c[:, :2], c[:, :2] + c[:, 2:] + 1], dim=1) for c in corners)
# Every fourth pair lies close together.
second[::4] = first[::4] + torch.randint(0, 3, (n // 4, 4))
iou = box_iou(first, second).diagonal()
lines = [" ".join(f"{int(x)}" for x in (*a, *b)) + f" {v:.9f}" for a, b, v in zip(first, second, iou.tolist())]
(Path(__file__).parent / "iou.txt").write_text("\n".join(lines) + "\n")
