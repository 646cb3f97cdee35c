"""Writes `synsets.mat` and `synsets_plain.mat`: the struct array of ImageNet's `meta.mat`, with four leaves and two inner nodes.

    python make_synsets.py

Pinned: scipy 1.17.1, numpy 2.4.6. The first is compressed with numbers as doubles, as MATLAB writes them; the second is
not compressed, with numbers as 16-bit integers. Both begin with another variable, which a reader has to pass over.
"""

import pathlib

import numpy as np
from scipy.io import savemat

HERE = pathlib.Path(__file__).parent
FIELDS = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"]
NODES = [
    (1, "n02119789", "kit fox, Vulpes macrotis", "small grey fox of southwestern United States", [], 0, 1300),
    (2, "n02100735", "English setter", "an English breed having a plumed tail", [], 0, 1300),
    (3, "n02110185", "Siberian husky", "breed of sled dog developed in northeastern Siberia", [], 0, 1300),
    (4, "n02096294", "Australian terrier", "small greyish wire-haired breed of terrier", [], 0, 1300),
    (5, "n02083346", "canine, canid", "any of various fissiped mammals", [1, 6], 2, 0),
    (6, "n02084071", "dog, domestic dog, Canis familiaris", "a member of the genus Canis", [2, 3, 4], 1, 0),
]


def synsets(number):
    array = np.zeros((len(NODES), 1), dtype=[(field, object) for field in FIELDS])
    for row, (ident, wnid, words, gloss, children, height, images) in enumerate(NODES):
        array[row, 0] = (
            number(ident), wnid, words, gloss, number(len(children)), np.array(children, dtype=float), number(height), number(images),
        )
    return array


def write(name, number, compressed):
    data = {"version": "t12", "synsets": synsets(number)}
    savemat(HERE / name, data, do_compression=compressed)
    with (HERE / name).open("r+b") as file:  # The first 116 bytes are free text with the time of writing.
        file.write(b"MATLAB 5.0 MAT-file, written by scipy".ljust(116))


write("synsets.mat", float, compressed=True)
write("synsets_plain.mat", np.uint16, compressed=False)
