"""What a figure depends on and a reader must know: processor, cores, load, versions."""

import os
import platform
import subprocess

PACKAGES = ("torch", "torchvision", "timm", "pillow", "pyarrow", "numpy", "onnxruntime")


def processor():
    """Model name and the vector extensions that matter to matrix products."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line.split(":", 1) for line in file if ":" in line]
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, value in reversed(lines)}
    flags = set(facts.get("flags", "").split())
    known = [name for name in ("avx2", "avx512f", "amx_bf16") if name in flags]
    return f"{facts.get('model name', platform.machine())} ({', '.join(known) or 'no AVX2'})"


def cores():
    """Cores that this process may use, and those of the machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} of {os.cpu_count()}"


def load():
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def first_line(command, cwd=None):
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=True)
        return done.stdout.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def versions(python, vitals, root):
    """Versions of both sides, as one line each."""
    script = (
        "import importlib.metadata as m, platform\n"
        "def of(p):\n"
        "    try: return m.version(p)\n"
        "    except m.PackageNotFoundError: return None\n"
        f"print('Python ' + platform.python_version(), *[f'{{p}} {{of(p)}}' for p in {PACKAGES!r} if of(p)], sep=', ')"
    )
    commit = first_line(["git", "rev-parse", "--short", "HEAD"], root)
    dirty = " with changes" if first_line(["git", "status", "--porcelain"], root) != "unknown" else ""
    ours = f"{first_line([vitals, '--version'])}, commit {commit}{dirty}, {first_line(['rustc', '--version'])}"
    return ours, first_line([python, "-c", script])
