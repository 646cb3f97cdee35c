"""Both sides of every benchmark in one run, interleaved, as a Markdown page. Needs the standard library only.

    VITALS_REAL=/path/to/real PYTHON=/path/to/python-with-torch python3 benches/run.py

    --weights FILE   DINOv2 ViT-S/14 in the official tensor names   (default: the one in $VITALS_REAL/weights)
    --photos FOLDER  JPEG photos, in any folders below               (default: $VITALS_REAL/imagenet)
    --quick          tiny counts: does everything run?

Each round runs every program once, in an order that turns from round to round, so that a change of the machine's load
meets both sides. A ratio is ours / peer within a round; the table gives the median and the range over rounds.
"""

import argparse
import collections
import itertools
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import machine
import processes

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "benches" / "peers"
# (loader processes, sites of the histograms) of the PyTorch script.
VARIANTS = [(0, "all"), (1, "all"), (2, "all"), (0, "blocks")]
# Names of peers that do less than we do.
PARTIAL = set()
# Load average above which a machine does something else.
BUSY = 0.5
ENCODERS = ["dinov2_vits14", "dinov2_vits14_reg4", "dinov2_vitb14"]

STUDY = """title = "Benchmark"

[extract]
outliers = {{ rule = "fixed", cutoff = 150.0 }}
pictures = 0
precision = "{precision}"

[[model]]
model = "dinov2_vits14"
weights = {weights}

[[dataset]]
dataset = "photos"
root = {photos}
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=pathlib.Path)
    parser.add_argument("--photos", type=pathlib.Path)
    parser.add_argument("--vitals", type=pathlib.Path, help="release binary; the examples must lie beside it")
    parser.add_argument("--parts", default="whole,encoder,decode,memory")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--images", type=int, help="photos of the whole path")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32", help="of the whole path; torch's is autocast")
    parser.add_argument("--secs", type=float, help="length of one encoder measurement")
    parser.add_argument("--encoder-variants", default="eager", help="eager,compile,onnx,bf16,bf16all,bf16compile")
    parser.add_argument("--encoder-grid", action="append", metavar="MODELS:SIZES:THREADS:BATCHES",
                        help="instead of the usual ones, e.g. dinov2_vits14:224:1,2:1,8,32; may be repeated")
    parser.add_argument("--memory", help="numbers of images for the peak memory")
    parser.add_argument("--json", type=pathlib.Path, help="also write every single measurement here")
    parser.add_argument("--quick", action="store_true")
    found = parser.parse_args()
    real = os.environ.get("VITALS_REAL")
    if real:
        found.weights = found.weights or next(iter(sorted(pathlib.Path(real, "weights").glob("*.safetensors"))), None)
        found.photos = found.photos or pathlib.Path(real, "imagenet")
    if not (found.weights and found.photos):
        parser.error("give --weights and --photos, or set VITALS_REAL")
    defaults = (2, 8, 0.2, "4,8,16") if found.quick else (5, 200, 3.0, "100,400,1600")
    for name, value in zip(("rounds", "images", "secs", "memory"), defaults):
        if getattr(found, name) is None:
            setattr(found, name, value)
    found.memory = [int(n) for n in found.memory.split(",")]
    found.parts = found.parts.split(",")
    found.weights = found.weights.resolve()
    found.python = os.environ.get("PYTHON", sys.executable)
    return found


def say(text):
    print(text, file=sys.stderr, flush=True)


def build():
    """Release binary and examples, in one cargo call so that all share one set of features."""
    packages = [word for name in ("vitals", "vit", "datasets") for word in ("-p", name)]
    subprocess.run(["cargo", "build", "--release", *packages, "--bins", "--examples"], cwd=ROOT, check=True)
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return pathlib.Path(json.loads(metadata.stdout)["target_directory"], "release", "vitals")


def photo_folder(folder, photos, count):
    """`count` photos in one flat folder: hard links, or copies where the file system has none. Repeats have other names."""
    folder.mkdir(parents=True)
    for i, photo in zip(range(count), itertools.cycle(photos)):
        target = folder / f"{i:06d}{photo.suffix}"
        try:
            os.link(photo, target)
        except OSError:
            shutil.copyfile(photo, target)
    return folder


class Bench:
    def __init__(self, given, vitals, work):
        self.given, self.vitals, self.work = given, vitals, work
        suffixes = {".jpeg", ".jpg"}
        self.photos = sorted(p for p in given.photos.rglob("*") if p.suffix.lower() in suffixes)
        if not self.photos:
            sys.exit(f"{given.photos} holds no JPEG photos")
        # Figure name → one value a round.
        self.figures = collections.defaultdict(list)
        self.memory, self.tables = [], None
        self.errors = {}

    def python(self, script, *words):
        return processes.run([self.given.python, PEERS / script, *words])

    def vitals_run(self, photos, name):
        """One whole `vitals run` into a new store: what it took, and the seconds of its extraction."""
        store = self.work / name
        study = self.work / f"{name}.toml"
        quoted = {"weights": json.dumps(str(self.given.weights)), "photos": json.dumps(str(photos))}
        study.write_text(STUDY.format(precision=self.given.precision, **quoted))
        words = ["run", study, "--device", "cpu", "--threads", self.given.threads, "--store", store]
        done = processes.run([self.vitals, *words, "--report", self.work / f"{name}-report"])
        extract = 0.0
        for line in (store / "ledger.jsonl").read_text().splitlines():
            entry = json.loads(line)
            if entry["event"] == "shard_done" and entry["stage"] == "extract":
                extract += entry["secs"] or 0.0
        return done, extract, store

    def whole(self, number):
        count = self.given.images
        folder = self.work / "photos"
        if not folder.exists():
            photo_folder(folder, self.photos, count)

        def ours():
            done, extract, store = self.vitals_run(folder, f"ours-{number}")
            self.figures["vitals run", "command"].append(count / done.wall_secs)
            self.figures["vitals run", "stream"].append(count / extract if extract else float("nan"))
            self.figures["vitals run", "cpu"].append(done.cpu_secs / count)
            self.figures["vitals run", "peak"].append(done.peak_rss_mb)
            return store

        def peer(workers, sites):
            out = self.work / f"peer-{number}-{workers}-{sites}"
            words = ["--weights", self.given.weights, "--photos", folder, "--out", out, "--threads", self.given.threads]
            words += ["--precision", self.given.precision]
            done = self.python("extract_torch.py", *words, "--workers", workers, "--sites", sites)
            line = json.loads(done.stdout)
            name = f"PyTorch, {workers} loader processes"
            if sites != "all":
                name += ", without q/k/v norms"
                PARTIAL.add(name)
            self.figures[name, "command"].append(count / done.wall_secs)
            self.figures[name, "stream"].append(line["images_per_sec"])
            self.figures[name, "encode"].append(line["images"] / line["encode_secs"])
            self.figures[name, "cpu"].append(done.cpu_secs / count)
            self.figures[name, "peak"].append(line["peak_rss_mb"])
            return out

        tasks = [ours] + [lambda v=v: peer(*v) for v in VARIANTS]
        turn = number % len(tasks)
        folders = {}
        for i in [*range(turn, len(tasks)), *range(turn)]:
            folders[i] = tasks[i]()
        if self.tables is None:
            # Two roundings to bf16 differ by their own size: equal rows, similar values.
            tolerance = 1e-3 if self.given.precision == "f32" else 5e-2
            words = [folders[0], folders[1], "--tolerance", tolerance]
            self.tables = json.loads(self.python("compare_tables.py", *words).stdout)
        for made in folders.values():
            shutil.rmtree(made)

    def encoder(self, number):
        grid = [(",".join(ENCODERS), "224", "1,2", "1,8")]
        if not self.given.quick:
            # One thread at 518 px says nothing that 224 px does not, and takes minutes.
            grid.append(("dinov2_vits14,dinov2_vitb14", "518", "2", "1,8"))
        if self.given.encoder_grid:
            grid = [tuple(words.split(":")) for words in self.given.encoder_grid]
        example = self.vitals.parent / "examples" / "encoder_speed"
        for models, sizes, threads, batches in grid:
            words = ["--models", models, "--sizes", sizes, "--threads", threads, "--secs", self.given.secs]
            bf16 = any(variant.startswith("bf16") for variant in self.given.encoder_variants.split(","))
            precisions = "f32,bf16" if bf16 else "f32"
            ours = lambda words=words, p=precisions: processes.run([example, *words, "--precisions", p])
            more = ["--batches", batches, "--variants", self.given.encoder_variants]
            peer = lambda words=words, more=more: self.python("encoder_torch.py", *words, *more)
            for task in (ours, peer) if number % 2 == 0 else (peer, ours):
                for line in map(json.loads, task().stdout.splitlines()):
                    variant = f"vitals {line['precision']}" if line["variant"] == "vitals" else line["variant"]
                    key = (line["model"], line["size_px"], line["threads"], variant, line.get("batch"))
                    if "error" in line:
                        self.errors[key] = line["error"]
                    else:
                        self.figures["encoder", *key].append(line["images_per_sec"])

    def decode(self, number):
        example = self.vitals.parent / "examples" / "decode_speed"
        words = [self.given.photos, "--rounds", 1 if self.given.quick else 3]
        ours = ("decode", "vitals"), lambda: processes.run([example, *words])
        peer = ("decode", "PIL + torchvision"), lambda: self.python("decode_pil.py", *words)
        for key, task in (ours, peer) if number % 2 == 0 else (peer, ours):
            self.figures[key].append(json.loads(task().stdout)["images_per_sec"])

    def measure_memory(self):
        for count in self.given.memory:
            say(f"memory: {count} images")
            folder = photo_folder(self.work / f"photos-{count}", self.photos, count)
            done, _, store = self.vitals_run(folder, f"memory-{count}")
            self.memory.append((count, done.peak_rss_mb, done.wall_secs))
            shutil.rmtree(folder)
            shutil.rmtree(store)


def middle(values):
    return statistics.median(values)


def spread(values, digits=2):
    return f"{middle(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio(ours, peer):
    """Median and range of ours / peer, round by round."""
    return spread([a / b for a, b in zip(ours, peer)])


def table(*rows):
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def whole_page(bench):
    figures, given = bench.figures, bench.given
    names = [name for name, what in figures if what == "command"]
    rows = [["", "images/s, streaming", "ours / this", "images/s, whole command", "ours / this", "CPU s / image", "peak MB"]]
    ours = "vitals run"
    same = [name for name in names if name not in (ours, *PARTIAL)]
    best = {what: max(same, key=lambda name: middle(figures[name, what])) for what in ("stream", "command")}
    headline = [ratio(figures[ours, what], figures[name, what]) + f" ({name})" for what, name in best.items()]
    for name in sorted(names, key=lambda n: (n != ours, -middle(figures[n, "stream"]))):
        of = {what: figures[name, what] for what in ("stream", "command", "cpu", "peak")}
        ratios = {w: "" if name == ours else ratio(figures[ours, w], of[w]) for w in ("stream", "command")}
        rows.append(
            [name, spread(of["stream"]), ratios["stream"], spread(of["command"]), ratios["command"],
             f"{middle(of['cpu']):.3f}", f"{middle(of['peak']):.0f}"]
        )
    forward = [f"{name}: {spread(values)}" for (name, what), values in figures.items() if what == "encode"]
    stats = bench.tables["sizes"]["token_stats"]
    worst = max(bench.tables["differences"].items(), key=lambda item: item[1])
    return "\n".join(
        [
            f"## Whole path: {given.images} photos, ViT-S/14 at 224, {given.precision}, {given.threads} threads, torch batch 8", "",
            f"Ours / the best peer that does the same work: streaming {headline[0]}, whole command {headline[1]}.", "",
            table(*rows), "",
            "Streaming: from the first file to the last footer; ours is the extraction step, which reads the weights once "
            "more, torch's leaves imports and weights out. Whole command: start to exit of the process; ours also "
            "measures and writes the report. Peak: without loader processes.", "",
            "Of it, images/s of the forward pass with its hooks alone: " + "; ".join(forward) + ".", "",
            f"Same work: equal rows in every table; largest difference {worst[1]:.1e} of a column's largest value "
            f"({worst[0]}).", "",
            f"Bytes per token row: {stats['bytes'] / stats['rows']:.2f} (pyarrow: {stats['peer_bytes'] / stats['rows']:.2f}); "
            "all tables, bytes per image: "
            + ", ".join(f"{t} {s['bytes'] / given.images:.0f}" for t, s in bench.tables["sizes"].items()) + ".",
        ]
    )


def encoder_page(bench):
    rows = [["model", "px", "threads", "vitals", "images/s", "peer", "its images/s", "ours / peer"]]
    found = {key[1:]: values for key, values in bench.figures.items() if key[0] == "encoder"}
    for (model, size, threads, variant, batch), values in found.items():
        if not variant.startswith("vitals"):
            precision = "bf16" if variant.startswith("bf16") else "f32"
            ours = found[model, size, threads, f"vitals {precision}", None]
            peer = f"torch {variant}, batch {batch}"
            rows.append([model, size, threads, precision, spread(ours), peer, spread(values), ratio(ours, values)])
    # One line for every reason of a variant, however many sizes it met.
    failed = sorted({f"torch {key[3]}: {error}" for key, error in bench.errors.items()})
    note = "Final tokens, random weights. Ours runs one image a thread, whatever the batch. Peers of bf16 stand beside ours of bf16."
    return "\n".join(["## Encoder alone", "", table(*rows), "", note, *(f"- not measured: {line}" for line in failed)])


def decode_page(bench):
    ours, peer = bench.figures["decode", "vitals"], bench.figures["decode", "PIL + torchvision"]
    rows = [["", "images/s a core", "ours / this"], ["vitals", spread(ours, 0), ""],
            ["PIL + torchvision", spread(peer, 0), ratio(ours, peer)]]
    return "\n".join([f"## Decode, resize, crop, normalise: {len(bench.photos)} photos, one thread", "", table(*rows)])


def memory_page(bench):
    rows = [["images", "peak memory, MB", "images/s, whole command"]]
    rows += [[count, f"{peak:.0f}", f"{count / secs:.2f}"] for count, peak, secs in bench.memory]
    return "\n".join([f"## Memory of `vitals run`, {bench.given.threads} threads", "", table(*rows)])


def main():
    given = arguments()
    vitals = given.vitals.resolve() if given.vitals else build()
    begin = machine.load()
    busy = os.getloadavg()[0] > BUSY
    with tempfile.TemporaryDirectory(prefix="vitals-bench-") as work:
        bench = Bench(given, vitals, pathlib.Path(work))
        parts = {"whole": bench.whole, "encoder": bench.encoder, "decode": bench.decode}
        for number in range(given.rounds):
            for name, part in parts.items():
                if name in given.parts:
                    say(f"round {number + 1} of {given.rounds}: {name}")
                    part(number)
        if "memory" in given.parts:
            bench.measure_memory()
    ours, peer = machine.versions(given.python, vitals, ROOT)
    facts = [["", ""], ["processor", machine.processor()], ["cores", machine.cores()],
             ["load average, begin", begin], ["load average, end", machine.load()], ["rounds", given.rounds],
             ["ours", ours], ["peer", peer]]
    pages = {"whole": whole_page, "encoder": encoder_page, "decode": decode_page, "memory": memory_page}
    text = [f"# Benchmarks{' (quick: the figures mean nothing)' if given.quick else ''}", "", table(*facts)]
    if busy:
        text += ["", "**The machine was not idle when this began.** Threads of PyTorch wait for each other inside an operation, so "
                 "load slows them more than threads with an image of their own: these ratios flatter us."]
    for name, page in pages.items():
        if name in given.parts:
            text += ["", page(bench)]
    print("\n".join(text))
    if given.json:
        figures = [{"figure": key, "values": values} for key, values in bench.figures.items()]
        given.json.write_text(json.dumps({"machine": facts[1:], "figures": figures, "memory": bench.memory,
                                          "tables": bench.tables}, indent=1))


if __name__ == "__main__":
    main()
