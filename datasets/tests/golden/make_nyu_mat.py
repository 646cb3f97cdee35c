"""Writes `devkits/nyu_depth_v2_labeled.mat` and `devkits/splits.mat`: NYU Depth v2's labelled set in miniature, as MATLAB
7.3 lays it out (a user block, groups by symbol table, chunks in a B-tree, deflate), and its splits in MATLAB 5.

    python make_nyu_mat.py

Pinned: h5py 3.16.0, scipy 1.17.1, numpy 2.2.6. Five photos of 4 rows and 6 columns: red counts photos by tens,
green rows by tens, blue columns by tens; depth is photo + row / 10 + column / 100 metres.
"""

import pathlib

import h5py
import numpy as np
from scipy.io import savemat

HERE = pathlib.Path(__file__).parent / "devkits"
N, H, W = 5, 4, 6
n, y, x = np.mgrid[0:N, 0:H, 0:W]
images = np.stack([10 * n, 10 * y, 10 * x], 1).astype(np.uint8)  # [N, 3, H, W]
depths = (n + y / 10 + x / 100).astype(np.float32)

path = HERE / "nyu_depth_v2_labeled.mat"
with h5py.File(path, "w", userblock_size=512, libver="earliest", track_order=False) as file:
    packed = {"compression": "gzip", "compression_opts": 3}
    # MATLAB counts columns first, so its arrays are read the other way round.
    file.create_dataset("images", data=images.swapaxes(2, 3), chunks=(1, 3, W, H), track_times=False, **packed)
    file.create_dataset("depths", data=depths.swapaxes(1, 2), chunks=(2, W, 3), track_times=False, **packed)
    file.create_dataset("labels", data=np.ones((N, W, H), np.uint16), track_times=False)
    text = file.create_dataset("#refs#/b", data=np.frombuffer(b"kitchen", np.uint8).astype(np.uint16), track_times=False)
    file.create_dataset("scenes", data=np.array([[text.ref] * N], dtype=h5py.ref_dtype), track_times=False)
with path.open("r+b") as file:
    file.write(b"MATLAB 7.3 MAT-file, written by h5py".ljust(124) + bytes([0, 2]) + b"IM")

savemat(HERE / "splits.mat", {"trainNdxs": np.array([[3.0], [1.0]]), "testNdxs": np.array([[2.0], [5.0]])})
with (HERE / "splits.mat").open("r+b") as file:  # The first 116 bytes are free text with the time of writing.
    file.write(b"MATLAB 5.0 MAT-file, written by scipy".ljust(116))
