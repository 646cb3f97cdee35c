"""Multinomial logistic regression with scikit-learn on vectors in a file: one JSON object.

    logistic_sklearn.py --write FILE --rows N --width D --classes K
    logistic_sklearn.py FILE --rows N --width D [--c 1] [--to OBJECTIVE] [--threads 2]

--write plants N vectors of D channels: a centre for each of K classes and noise a third as large as their distances, in
channels that correlate and differ in size by a factor of ten. The file has the vectors in f32, row by row, then the labels.

The objective is ours: sum of cross-entropies + |W|^2 / (2C), the intercept free. scikit-learn minimises the same (lbfgs).
Its `tol` is a bound on the gradient of another scale, so it is lowered by tens until the objective is within 1e-5 of --to,
what the other side reached; the time is that of the one fit that reached it, from zero.
"""
import argparse
import json
import pathlib
import resource
import time

import numpy
import sklearn
import threadpoolctl
from sklearn.linear_model import LogisticRegression


def plant(path, rows, width, classes):
    random = numpy.random.default_rng(0)
    centres = random.normal(size=(classes, width)).astype("f4") * 3.3 / numpy.sqrt(2 * width)
    common = random.normal(size=(8, width)).astype("f4")
    sizes = 10 ** random.uniform(-0.5, 0.5, width).astype("f4")
    labels = random.integers(0, classes, rows)
    with open(path, "wb") as file:
        for start in range(0, rows, 10_000):
            y = labels[start:start + 10_000]
            noise = random.normal(size=(len(y), width)) + random.normal(size=(len(y), 8)) @ common
            file.write(((centres[y] + noise) * sizes + 1).astype("<f4").tobytes())
        file.write(labels.astype("<u4").tobytes())


def objective(x, y, model, c):
    total = 0.0
    for start in range(0, len(x), 10_000):
        z = x[start:start + 10_000].astype("f8") @ model.coef_.T.astype("f8") + model.intercept_
        top = z.max(axis=1)
        total += (numpy.log(numpy.exp(z - top[:, None]).sum(axis=1)) + top).sum()
        total -= z[numpy.arange(len(z)), y[start:start + 10_000]].sum()
    return float(total + (model.coef_.astype("f8") ** 2).sum() / (2 * c))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--c", type=float, default=1.0)
    parser.add_argument("--to", type=float)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if given.write:
        plant(given.file, given.rows, given.width, given.classes)
        return
    x = numpy.fromfile(given.file, "<f4", given.rows * given.width).reshape(given.rows, given.width)
    y = numpy.fromfile(given.file, "<u4", offset=x.nbytes)
    tried = []
    with threadpoolctl.threadpool_limits(given.threads):
        for tol in 10.0 ** -numpy.arange(4, 10):
            began = time.perf_counter()
            model = LogisticRegression(C=given.c, tol=tol, max_iter=5000).fit(x, y)
            secs = time.perf_counter() - began
            tried.append({"tol": tol, "secs": secs, "objective": objective(x, y, model, given.c),
                          "iterations": int(model.n_iter_[0])})
            if given.to is None or tried[-1]["objective"] <= given.to * (1 + 1e-5):
                break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**tried[-1], "tried": tried, "peak_mb": peak / 1024, "sklearn": sklearn.__version__}))


if __name__ == "__main__":
    main()
