"""Writes the fixtures of `tests/pillow.rs`: small image files and the digests of what Pillow and torchvision make of them.

    python make_fixtures.py [IMAGENET_VAL_FOLDER]

Pinned: pillow 13.0.0 (libjpeg-turbo 3.2), torchvision 0.29.2, torch 2.15.0, numpy 2.4.6, simplejpeg 1.9.0 (for subsamplings that
Pillow does not write). Other versions must give the same
digests, or the change is a finding. With a folder of ImageNet photos it also rewrites `photos.tsv`, the digests of
photos that are not shipped.
"""

import hashlib
import io
import json
import pathlib
import struct
import sys
import zlib

import numpy as np
import pyarrow
import pyarrow.parquet
import simplejpeg
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

HERE = pathlib.Path(__file__).parent
FILTERS = {"bicubic": (Image.BICUBIC, InterpolationMode.BICUBIC), "bilinear": (Image.BILINEAR, InterpolationMode.BILINEAR)}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def picture(height, width, channels, seed):
    """Smooth shapes, hard edges and noise: everything a codec and a kernel treat differently."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = []
    for _ in range(channels):
        a, b, c = rng.uniform(0.02, 0.3, 3)
        plane = 127 + 90 * np.sin(a * x + b * y) + 60 * ((x // 7 + y // 5) % 2) * np.cos(c * x)
        planes.append(plane + rng.normal(0, 8, (height, width)))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def save(name, image, **options):
    image.save(HERE / name, **options)


def png(name, width, height, depth, colour, rows, extra=b"", interlace=0):
    """A PNG of a kind that Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    (HERE / name).write_bytes(data)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_files():
    rgb = lambda h, w, seed: Image.fromarray(picture(h, w, 3, seed))
    save("rgb420.jpg", rgb(83, 119, 1), quality=85, subsampling=2)
    save("rgb422.jpg", rgb(61, 75, 2), quality=90, subsampling=1)
    save("rgb444.jpg", rgb(45, 64, 3), quality=75, subsampling=0)
    for name, height, width, seed in [("440", 64, 50, 4), ("440", 37, 41, 35), ("411", 40, 70, 5)]:
        data = simplejpeg.encode_jpeg(picture(height, width, 3, seed), quality=85, colorsubsampling=name)
        (HERE / f"rgb{name}_{height}.jpg").write_bytes(data)
    save("progressive.jpg", rgb(57, 91, 6), quality=80, progressive=True)
    save("restart.jpg", rgb(64, 80, 7), quality=80, restart_marker_blocks=3)
    save("keep_rgb.jpg", rgb(33, 47, 8), quality=85, keep_rgb=True)
    save("grey.jpg", Image.fromarray(picture(51, 37, 1, 9)[..., 0]), quality=85)
    save("cmyk.jpg", Image.fromarray(picture(40, 52, 4, 10), "CMYK"), quality=85)
    save("one_column.jpg", rgb(60, 1, 11), quality=90)
    save("three_columns.jpg", rgb(30, 3, 12), quality=90)
    save("five_columns.jpg", rgb(17, 5, 13), quality=90, subsampling=2)
    save("one_row.jpg", rgb(1, 60, 14), quality=90)
    save("low_quality.jpg", rgb(72, 72, 15), quality=4)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("exif_rotated.jpg", rgb(40, 60, 16), quality=85, exif=exif)
    (HERE / "named_jpg_is_png.jpg").write_bytes(encode(rgb(20, 30, 17), "PNG"))
    # A YCCK JPEG: Pillow writes only CMYK ones. The transform byte of the Adobe marker says how to read the components.
    ycck = bytearray(encode(Image.fromarray(picture(40, 52, 4, 18), "CMYK"), "JPEG", quality=85))
    at = ycck.find(b"Adobe")
    ycck[at + 11] = 2
    (HERE / "ycck.jpg").write_bytes(bytes(ycck))

    save("rgb.png", rgb(37, 53, 20))
    save("rgba.png", Image.fromarray(picture(30, 31, 4, 21), "RGBA"))
    save("grey.png", Image.fromarray(picture(29, 41, 1, 22)[..., 0]))
    save("grey_alpha.png", Image.fromarray(picture(29, 41, 2, 23), "LA"))
    save("palette.png", rgb(40, 44, 24).quantize(37))
    save("bilevel.png", Image.fromarray(picture(33, 19, 1, 25)[..., 0]).convert("1"))
    deep = picture(25, 35, 1, 26)[..., 0].astype(np.uint16)
    save("grey16.png", Image.fromarray(np.where(deep % 3 == 0, deep, deep * 257).astype(np.uint16)))
    rng = np.random.default_rng(27)
    rows = lambda per_row, count: [rng.bytes(per_row) for _ in range(count)]
    png("rgb16.png", 13, 9, 16, 2, rows(13 * 6, 9))
    png("rgba16.png", 13, 9, 16, 6, rows(13 * 8, 9))
    png("grey_alpha16.png", 13, 9, 16, 4, rows(13 * 4, 9))
    png("grey2.png", 12, 9, 2, 0, rows(3, 9))
    png("grey4.png", 12, 9, 4, 0, rows(6, 9))
    palette = chunk(b"PLTE", rng.bytes(16 * 3))
    png("palette4.png", 12, 9, 4, 3, rows(6, 9), palette)
    png("palette_transparent.png", 12, 9, 4, 3, rows(6, 9), palette + chunk(b"tRNS", bytes(range(0, 160, 20))))
    png("rgb_transparent.png", 11, 7, 8, 2, rows(33, 7), chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3])))
    low = [b"".join(struct.pack(">H", value) for value in rng.integers(0, 400, 11)) for _ in range(7)]
    png("grey16_transparent.png", 11, 7, 16, 0, low, chunk(b"tRNS", bytes([0, 7])))
    save("lossless.webp", rgb(31, 33, 28), lossless=True)
    save("lossy.webp", rgb(48, 50, 29), quality=80)
    save("rgba.webp", Image.fromarray(picture(31, 33, 4, 30), "RGBA"), lossless=True, exact=True)
    save("palette.gif", rgb(35, 37, 31).quantize(50))
    save("transparent.gif", rgb(35, 37, 32).quantize(50), transparency=3)
    save("rgb.bmp", rgb(19, 23, 33))
    save("palette.bmp", rgb(19, 23, 34).quantize(200))


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(lines):
    for path in sorted(HERE.iterdir()):
        if path.suffix in {".jpg", ".png", ".webp", ".gif", ".bmp"}:
            image = np.asarray(Image.open(path).convert("RGB"))
            lines.append(("decode", path.name, "", image.shape[0], image.shape[1], sha(image)))


def resized(lines):
    sizes = [(83, 119), (40, 57), (224, 224), (7, 200), (200, 7), (1, 1), (84, 119), (83, 60), (300, 11), (20, 57), (61, 108), (62, 108)]
    for name in ["rgb420.jpg", "rgb.png"]:
        image = Image.open(HERE / name).convert("RGB")
        for filter_name, (pil, _) in FILTERS.items():
            for height, width in sizes:
                pixels = np.asarray(image.resize((width, height), pil))
                lines.append(("resize", name, filter_name, height, width, sha(pixels)))
    for name in ["one_column.jpg", "one_row.jpg"]:
        image = Image.open(HERE / name).convert("RGB")
        for filter_name, (pil, _) in FILTERS.items():
            for height, width in [(60, 60), (13, 2), (1, 61)]:
                lines.append(("resize", name, filter_name, height, width, sha(np.asarray(image.resize((width, height), pil)))))


def preprocessed(lines):
    """Resize(int), CenterCrop, ToTensor, Normalize: the digest is of the f32 planes."""
    cases = [(64, 56), (50, 50), (33, 40), (97, 64), (37, 21), (20, 33)]
    for name in ["rgb420.jpg", "exif_rotated.jpg", "grey.jpg", "cmyk.jpg", "rgb.png", "progressive.jpg", "five_columns.jpg"]:
        image = Image.open(HERE / name).convert("RGB")
        for filter_name, (_, mode) in FILTERS.items():
            for short, crop in cases:
                steps = [transforms.Resize(short, interpolation=mode), transforms.CenterCrop(crop)]
                steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
                tensor = transforms.Compose(steps)(image)
                lines.append(("preprocess", name, filter_name, short, crop, sha(tensor.numpy())))


def photos(folder):
    lines = []
    for path in sorted(folder.rglob("*.JPEG"))[::5]:
        image = Image.open(path).convert("RGB")
        steps = [transforms.Resize(256, interpolation=InterpolationMode.BICUBIC), transforms.CenterCrop(224)]
        cropped = np.asarray(transforms.Compose(steps)(image))
        lines.append((path.relative_to(folder).as_posix(), sha(np.asarray(image)), sha(cropped)))
    write("photos.tsv", lines)


def hub():
    """A file as the `datasets` library writes it: two images and a null."""
    names = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    features = {"info": {"features": {"image": {"_type": "Image"}, "label": names}}}
    images = [{"bytes": (HERE / name).read_bytes(), "path": name} for name in ["grey.jpg", "grey.png"]]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"image": pyarrow.array([*images, None], kind), "label": pyarrow.array([1, 0, -1], pyarrow.int64())})
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pyarrow.parquet.write_table(table, HERE / "hub.parquet", row_group_size=2)


def write(name, lines):
    (HERE / name).write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))


if __name__ == "__main__":
    write_files()
    hub()
    lines = []
    decoded(lines)
    resized(lines)
    preprocessed(lines)
    write("expected.tsv", lines)
    if len(sys.argv) > 1:
        photos(pathlib.Path(sys.argv[1]))
