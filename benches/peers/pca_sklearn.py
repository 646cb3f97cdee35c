"""Writes the fixture of the principal components: what scikit-learn finds in features made by a formula.

    python pca_sklearn.py > ../../stages/extract/src/portray/components/pca_sklearn.txt

Features are f32 with correlated channels of unlike scale, far from zero, as patch features are. The file has `n d`, the
features row by row, then for each of three components the share of the variance and the whitened scores. scikit-learn
divides by the standard deviation with n - 1; times sqrt(n/(n - 1)) the scores are in units of the population's.
"""

import numpy as np
from sklearn.decomposition import PCA

N, D, K = 48, 20, 3

rng = np.random.default_rng(7)
scales = 8.0 * 0.75 ** np.arange(D)
mixing = np.linalg.qr(rng.normal(size=(D, D)))[0]
features = (rng.gamma(2.0, size=(N, D)) * scales @ mixing + 30.0 * rng.normal(size=D)).astype(np.float32)

pca = PCA(K, whiten=True, svd_solver="full").fit(features.astype(np.float64))
scores = pca.transform(features.astype(np.float64)) * np.sqrt(N / (N - 1))

print(N, D)
for row in features:
    print(*(np.format_float_positional(x, unique=True, trim="0") for x in row))
for k in range(K):
    print(f"{pca.explained_variance_ratio_[k]:.9f}")
    print(*(f"{s:.6f}" for s in scores[:, k]))
