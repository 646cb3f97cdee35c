"""Scores of random answers by scikit-learn and numpy, for the scores of dense heads.

    python tests/golden/dense_metrics.py > stages/train/src/dense/evaluate/metrics.json

Segments: `jaccard_score` and `confusion_matrix` of scikit-learn 1.9.1 over all images together, as mmsegmentation (classes
that occur), as the study's DINOv2 script (all classes, 1e-6 below the bar) and as its DeiT script (`labels=range(n)`, which
drops pixels of other classes). Depth: the formulas in numpy 2.4.6, per image, then the mean.
"""

import json
import sys

import numpy as np
from sklearn.metrics import confusion_matrix, jaccard_score

rng = np.random.default_rng(3)
CLASSES, IMAGES, H, W = 9, 4, 11, 13

segments = []
for p_right in (0.1, 0.5, 0.9):
    # Class 6 is never annotated nor answered, class 7 only answered.
    truth = rng.choice([0, 1, 2, 3, 4, 5, 8, 255], (IMAGES, H, W), p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.03, 0.02, 0.1])
    noise = rng.choice([0, 1, 2, 3, 4, 7, 8], (IMAGES, H, W))
    answer = np.where((rng.random((IMAGES, H, W)) < p_right) & (truth != 255), truth, noise)
    known = truth != 255
    t, a = truth[known], answer[known]
    iou = jaccard_score(t, a, labels=range(CLASSES), average=None, zero_division=0)
    cm = confusion_matrix(t, a, labels=range(CLASSES))
    hit, union = np.diag(cm), cm.sum(0) + cm.sum(1) - np.diag(cm)
    iou[union == 0] = np.nan
    judged = confusion_matrix(t, a, labels=range(8))
    part_hit, part_union = np.diag(judged), judged.sum(0) + judged.sum(1) - np.diag(judged)
    with np.errstate(invalid="ignore"):
        recall = hit / cm.sum(1)
    segments.append(
        {
            "truth": truth.ravel().tolist(),
            "answer": answer.ravel().tolist(),
            "iou": [None if np.isnan(v) else float(v) for v in iou],
            "miou": float(np.nanmean(iou)),
            "miou_all": float((hit / (union + 1e-6)).mean()),
            "miou_judged": float((part_hit[part_union > 0] / part_union[part_union > 0]).mean()),
            "accuracy": float((t == a).mean()),
            "mean_accuracy": float(np.nanmean(recall)),
        }
    )

truth = np.float32(np.where(rng.random((IMAGES, H, W)) < 0.2, 0, rng.uniform(0.5, 12, (IMAGES, H, W))))
answer = np.float32(np.clip(truth * np.exp(rng.normal(0, 0.2, truth.shape)), 0.001, 10))
scores = []
for t, a in zip(truth.astype(np.float64), answer.astype(np.float64)):
    mask = (t > 0.001) & (t < 10)
    crop = np.zeros_like(mask)
    crop[2:9, 3:12] = True
    t, a = t[mask & crop], a[mask & crop]
    ratio = np.maximum(a / t, t / a)
    scores.append([np.sqrt(((a - t) ** 2).mean()), (np.abs(a - t) / t).mean(), (ratio < 1.25).mean()])
depth = {
    "size": [H, W],
    "truth": truth.astype(float).ravel().tolist(),
    "answer": answer.astype(float).ravel().tolist(),
    "crop": [2, 9, 3, 12],
    "mean": np.mean(scores, 0).tolist(),
    "stderr": (np.std(scores, 0, ddof=1) / np.sqrt(IMAGES)).tolist(),
}
json.dump({"classes": CLASSES, "segments": segments, "depth": depth}, sys.stdout, separators=(",", ":"))
sys.stdout.write("\n")
