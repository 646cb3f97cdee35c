"""Runs a program to its end and says what it took: wall time, CPU time, peak resident memory."""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time


@dataclasses.dataclass
class Finished:
    wall_secs: float
    cpu_secs: float
    peak_rss_mb: float
    stdout: str


def run(command):
    """Runs `command`; a failure ends the benchmark with what the program said.

    The peak is that of the program alone, not of processes it starts. On Linux it is never below the memory of the
    process that starts the program, so this file and its caller import nothing large.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        try:
            process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err)
        except OSError as error:
            sys.exit(f"cannot start {command[0]}: {error}; leave --vitals out to build everything")
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            shown = (err.read() + out.read())[-4000:]
            sys.exit(f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{shown}")
        # Linux counts in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        return Finished(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 2**20, out.read())
