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
    parser.add_argument("--parts", default="whole,encoder,decode,lost,logistic,dense,whole_image,memory")
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
    packages = [word for name in ("vitals", "vit", "datasets", "extract", "probe", "train", "acceptance")
                for word in ("-p", name)]
    subprocess.run(["cargo", "build", "--release", *packages, "--bin", "vitals", "--examples"], cwd=ROOT, check=True)
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

    def lost(self, number):
        example = self.vitals.parent / "examples" / "lost_speed"
        features = self.work / "features.f32"
        # A VOC photo of 500 x 375 px with patches of 16 px, and of 14; keys of ViT-S and ViT-B.
        for rows, columns, width in [(24, 32, 384), (27, 36, 768)]:
            shape = ["--rows", rows, "--columns", columns, "--width", width]
            self.python("lost_torch.py", "--write", features, *shape, "--images", 4 if self.given.quick else 40)
            words = [features, *shape, "--rounds", 1 if self.given.quick else 3]
            ours = "vitals", lambda words=words: processes.run([example, *words])
            peer = "torch + scipy", lambda words=words: self.python("lost_torch.py", *words)
            boxes = []
            for who, task in (ours, peer) if number % 2 == 0 else (peer, ours):
                line = json.loads(task().stdout)
                self.figures["lost", (rows, columns, width), who].append(line["images_per_sec"])
                boxes.append(line["boxes"])
            if boxes[0] != boxes[1]:
                sys.exit(f"LOST finds other boxes than its reference on features of {rows} x {columns} x {width}")

    def logistic(self, number):
        example = self.vitals.parent / "examples" / "logistic_speed"
        rows, width, classes = (2_000, 64, 10) if self.given.quick else (20_000, 384, 100)
        vectors = self.work / "vectors.f32"
        shape = ["--rows", rows, "--width", width]
        threads = ["--threads", self.given.threads]
        if not vectors.exists():
            self.python("logistic_sklearn.py", "--write", vectors, *shape, "--classes", classes)
        ours = json.loads(processes.run([example, vectors, *shape, *threads]).stdout)
        # Ours first: the peer stops at the objective that ours reached.
        reached = ours["fits"][0]["objective"]
        peer = json.loads(self.python("logistic_sklearn.py", vectors, *shape, *threads, "--to", reached).stdout)
        key = "logistic", (rows, width, classes)
        self.figures[(*key, "vitals")].append(ours["secs"])
        self.figures[(*key, "scikit-learn")].append(peer["secs"])
        self.figures[(*key, "excess")].append(peer["objective"] / reached - 1)

    def on_rayon(self, example, *words):
        """One of our examples that runs on rayon's pool."""
        program = self.vitals.parent / "examples" / example
        return processes.run(["env", f"RAYON_NUM_THREADS={self.given.threads}", program, *words])

    def dense(self, number):
        threads = ["--threads", self.given.threads]
        # Steps; the second half of them is timed, when both sides have their features in memory.
        for recipe, steps in {"cells": 400, "dinov2_segmentation": 6, "nyu_linear": 6}.items():
            steps = 2 if self.given.quick else steps
            # A new one each time: a finished head is not trained again.
            store = self.work / f"dense-{number}-{recipe}"
            ours = json.loads(self.on_rayon("dense_head_speed", recipe, steps, store).stdout)
            peer = json.loads(self.python("dense_head_torch.py", recipe, steps, store, *threads).stdout)
            shutil.rmtree(store)
            self.figures["dense", recipe, "vitals"].append(ours["secs_per_step"])
            self.figures["dense", recipe, "torch"].append(peer["secs_per_step"])
            self.figures["dense", recipe, "losses"].append((peer["our_last_loss"], peer["last_loss"]))

    def whole_image(self, number):
        threads = ["--threads", self.given.threads]
        quick = self.given.quick
        train, test, width, classes = (2_000, 300, 64, 10) if quick else (60_000, 4_000, 384, 100)
        store = self.work / f"knn-{number}"
        ours = json.loads(self.on_rayon("whole_image_of_tables", "knn", "random", train, test, width, classes, store).stdout)
        peer = json.loads(self.python("knn_torch.py", store, ours["train"], ours["test"], *threads).stdout)
        shutil.rmtree(store)
        for metric, share in peer["scores"].items():
            # Two sums of products in f32 may order two neighbours differently.
            if abs(ours["scores"][f"cls {metric}"] - share) > 2 / test:
                sys.exit(f"{metric} of k-NN is {ours['scores'][f'cls {metric}']}, its peer has {share}")
        self.both("k-NN", (train, test, width, classes), ours, peer)
        train, test, steps = (3_000, 300, 4) if quick else (20_000, 2_000, 30)
        store = self.work / f"heads-{number}"
        shape = [train, test, width, classes]
        ours = json.loads(self.on_rayon("whole_image_of_tables", f"heads:{steps}", "random", *shape, store).stdout)
        peer = json.loads(self.python("linear_eval_torch.py", store, ours["train"], ours["test"], steps, *threads).stdout)
        shutil.rmtree(store)
        self.both(f"52 heads, {steps} steps of 1,024", tuple(shape), ours, peer)
        best = ours["scores"]["chosen_on_test accuracy_frac"]
        self.figures["whole_image", "best"].append((best, peer["best"]))

    def both(self, what, shape, ours, peer):
        for who, line in (("vitals", ours), ("torch", peer)):
            self.figures["whole_image", (what, *shape), who].append(line["secs"])

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


def lost_page(bench):
    rows = [["grid", "channels", "vitals, images/s", "torch + scipy, images/s", "ours / this"]]
    for shape in dict.fromkeys(key[1] for key in bench.figures if key[0] == "lost"):
        ours, peer = (bench.figures["lost", shape, who] for who in ("vitals", "torch + scipy"))
        rows.append([f"{shape[0]} x {shape[1]}", shape[2], spread(ours, 1), spread(peer, 1), ratio(ours, peer)])
    return "\n".join(["## LOST on stored keys, one thread", "", table(*rows), "", "Both found the same boxes."])


def logistic_page(bench):
    rows = [["vectors", "channels", "classes", "vitals, s", "scikit-learn, s", "this / ours", "its objective over ours"]]
    for shape in dict.fromkeys(key[1] for key in bench.figures if key[0] == "logistic"):
        ours, peer, excess = (bench.figures["logistic", shape, what] for what in ("vitals", "scikit-learn", "excess"))
        rows.append([*shape, spread(ours, 2), spread(peer, 2), ratio(peer, ours), f"{max(excess):+.1e}"])
    note = "One fit at C = 1 in blocks, certified within 1e-5 of its optimum; scikit-learn's lbfgs with the largest tol that gets there."
    return "\n".join([f"## Multinomial logistic regression, {bench.given.threads} threads", "", table(*rows), "", note])


def dense_page(bench):
    rows = [["recipe", "vitals, ms a step", "torch, ms a step", "this / ours", "last losses"]]
    for recipe in dict.fromkeys(key[1] for key in bench.figures if key[0] == "dense"):
        ours, peer, losses = (bench.figures["dense", recipe, what] for what in ("vitals", "torch", "losses"))
        of = [spread([1000 * secs for secs in side], 1) for side in (ours, peer)]
        rows.append([recipe, *of, ratio(peer, ours), " / ".join(f"{loss:.3f}" for loss in losses[-1])])
    note = ("Random features of a ViT-S in f16, read before the clock starts; a step reads its views, goes there and back and "
            "moves the parameters. Other views on either side, so that losses are alike, not equal.")
    return "\n".join([f"## A step of a dense head, {bench.given.threads} threads", "", table(*rows), "", note])


def whole_image_page(bench):
    rows = [["", "training vectors", "test vectors", "channels", "classes", "vitals, s", "torch, s", "this / ours"]]
    for shape in dict.fromkeys(key[1] for key in bench.figures if key[0] == "whole_image" and key[1] != "best"):
        ours, peer = (bench.figures["whole_image", shape, who] for who in ("vitals", "torch"))
        rows.append([*shape, spread(ours), spread(peer), ratio(peer, ours)])
    best = bench.figures["whole_image", "best"][-1]
    note = ("From the Parquet files to the accuracies. k-NN's are equal on both sides; the best head, which has other first "
            f"weights and another order on either, has {best[0]:.3f} and {best[1]:.3f}.")
    return "\n".join([f"## Classification from stored vectors, {bench.given.threads} threads", "", table(*rows), "", note])


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
        parts = {"whole": bench.whole, "encoder": bench.encoder, "decode": bench.decode, "lost": bench.lost,
                 "logistic": bench.logistic, "dense": bench.dense, "whole_image": bench.whole_image}
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
    pages = {"whole": whole_page, "encoder": encoder_page, "decode": decode_page, "lost": lost_page,
             "logistic": logistic_page, "dense": dense_page, "whole_image": whole_image_page, "memory": memory_page}
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
