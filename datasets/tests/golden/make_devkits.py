"""Writes `devkits/*.mat`: the label files of miniatures of Oxford Flowers and Stanford Cars, in the variables and number
types of the official ones.

    python make_devkits.py

Pinned: scipy 1.17.1, numpy 2.4.6. `setid.mat` is not compressed and has doubles, the others are compressed.
"""

import pathlib

import numpy as np
from scipy.io import savemat

HERE = pathlib.Path(__file__).parent / "devkits"
CLASSES = ["AM General Hummer SUV 2000", "Audi S4 Sedan 2007", "BMW Z4 Convertible 2012"]


def annotations(rows):
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    array = np.zeros((1, len(rows)), dtype=[(field, object) for field in fields])
    for place, (label, name) in enumerate(rows):
        corners = [np.uint16(1), np.uint16(2), np.uint16(300), np.uint16(400)]
        array[0, place] = (*corners, np.uint8(label), name)
    return array


def write(name, data, compressed):
    savemat(HERE / name, data, do_compression=compressed)
    with (HERE / name).open("r+b") as file:  # The first 116 bytes are free text with the time of writing.
        file.write(b"MATLAB 5.0 MAT-file, written by scipy".ljust(116))


HERE.mkdir(exist_ok=True)
write("imagelabels.mat", {"labels": np.array([[2, 1, 3, 1, 2, 3]], dtype=np.uint8)}, compressed=True)
sets = {"trnid": [[3, 2, 1]], "valid": [[5]], "tstid": [[6, 4]]}
write("setid.mat", {name: np.array(ids, dtype=float) for name, ids in sets.items()}, compressed=False)
names = np.array([CLASSES], dtype=object)
write("cars_meta.mat", {"class_names": names}, compressed=True)
write("cars_train_annos.mat", {"annotations": annotations([(3, "00001.jpg"), (1, "00002.jpg")])}, compressed=True)
write("cars_test_annos_withlabels.mat", {"annotations": annotations([(2, "00001.jpg")])}, compressed=True)
