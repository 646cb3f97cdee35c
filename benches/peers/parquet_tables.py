"""The tables of an extraction as a PyTorch user would write them with pyarrow: the columns of `docs/formats.md`.

zstd-1, and BYTE_STREAM_SPLIT for floats, as the Rust writer does, so that neither side gains from a cheaper format.
"""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_BYTES = 32 << 20


def vector(dim):
    return pa.list_(pa.field("item", pa.float32(), nullable=False), dim)


def schemas(dim, patch_values):
    """Columns by table: widths of a token and of a patch's pixels."""

    def schema(*columns):
        return pa.schema([pa.field(name, kind, nullable=bool(rest)) for name, kind, *rest in columns])

    u16, u32, f32, text = pa.uint16(), pa.uint32(), pa.float32(), pa.string()
    return {
        "images": schema(
            ("image", u32), ("name", text), ("label", pa.int32(), "null"), ("class", text, "null"),
            ("width_px", u32), ("height_px", u32), ("grid_h", u16), ("grid_w", u16),
        ),
        "token_stats": schema(
            ("image", u32), ("site", text), ("kind", text), ("index", u16), ("row", u16, "null"), ("col", u16, "null"),
            ("norm", f32), ("outlier", pa.bool_()), ("neighbour_cosine", f32, "null"),
            ("neighbour_cosine_position", f32, "null"), ("cls_attention", f32, "null"), ("pixel_variance", f32, "null"),
        ),
        "token_vectors": schema(
            ("image", u32), ("site", text), ("kind", text), ("index", u16), ("row", u16, "null"), ("col", u16, "null"),
            ("draw", u16), ("norm", f32), ("vector", vector(dim)),
        ),
        "token_pixels": schema(
            ("image", u32), ("kind", text), ("index", u16), ("draw", u16), ("pixels", vector(patch_values)),
        ),
        "pooled": schema(("image", u32), ("site", text), ("pool", text), ("vector", vector(dim))),
        "norm_histograms": schema(
            ("site", text), ("kind", text), ("scale", text), ("bin", pa.int32()), ("low", f32), ("high", f32),
            ("tokens", pa.uint64()),
        ),
        "skipped": schema(("image", u32), ("name", text), ("reason", text), ("detail", text)),
    }


class Writer:
    """One table in one file, row groups of about 32 MiB."""

    def __init__(self, folder, table, schema):
        path = pathlib.Path(folder) / table / "part-00000.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        floats = [leaf for field in schema for leaf in float_leaf(field)]
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        self.schema = schema
        self.file = pq.ParquetWriter(
            path, schema, compression="zstd", compression_level=1, use_dictionary=texts, use_byte_stream_split=floats
        )
        self.pending, self.bytes = [], 0

    def write(self, columns):
        """Appends rows: arrays or lists by column name."""
        arrays = [as_array(columns[field.name], field.type) for field in self.schema]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        self.pending.append(batch)
        self.bytes += batch.nbytes
        if self.bytes >= ROW_GROUP_BYTES:
            self.flush()

    def flush(self):
        if self.pending:
            self.file.write_table(pa.Table.from_batches(self.pending, self.schema))
        self.pending, self.bytes = [], 0

    def close(self):
        self.flush()
        self.file.close()


def float_leaf(field):
    """The path of a float column in the file: its own name, or that of the values of its lists."""
    if pa.types.is_float32(field.type):
        return [field.name]
    if pa.types.is_fixed_size_list(field.type):
        return [f"{field.name}.list.item"]
    return []


def as_array(values, kind):
    """NumPy `[n]` or, for vectors, `[n, D]`; a pyarrow array; or a list."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), pa.float32()), type=kind)
    return pa.array(values, kind)
