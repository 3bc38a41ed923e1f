"""The records of experiments that are not studies, and how their files are written: whole, or not at all.

A record is one JSON object, what was held fixed and then one run a line. See `experiments/rnn.py` for one that is read
by a chapter.
"""
import json
import math
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np


def short(value, digits=4):
    """Return a number with so many significant digits, or None for one that is infinite or not a number."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


@contextmanager
def replacing(path):
    """Give a path beside `path` to write to, and put in its place what was written; after an error the old file stays."""
    beside = Path(path).with_suffix(".partial")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_arrays(path, /, **arrays):
    """Replace a compressed archive of arrays at once."""
    with replacing(path) as beside, open(beside, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_runs(path, header):
    """Return the recorded runs, a list of dictionaries, empty where there is no record.

    Raises SystemExit where they came from another header: other settings, or versions of packages.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        runs = record.pop("runs")
    except (ValueError, LookupError):
        raise SystemExit(f"{path.name} is damaged: get it back with git checkout, or move it away to record anew.") from None
    if record != json.loads(json.dumps(header)):
        raise SystemExit(f"{path.name} was recorded with other settings or versions: move it away to record anew.")
    return runs


def write_runs(path, header, runs):
    """Replace the record at once."""
    start = json.dumps(header, ensure_ascii=False, indent=1).removesuffix("\n}")
    lines = ",\n".join(json.dumps(run, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for run in runs)
    with replacing(path) as beside:
        beside.write_text(f'{start},\n "runs": [\n{lines}\n]}}\n', encoding="utf-8")


class Record:
    """The runs that were recorded, to look up and to add to. Raises SystemExit as `read_runs` does."""

    def __init__(self, path, header):
        self.path, self.header, self.runs = path, header, read_runs(path, header)

    def holds(self, settings):
        """Say whether a run with these settings is there."""
        return any(settings.items() <= {name: value for name, value in run.items() if name in settings}.items() for run in self.runs)

    def add(self, run):
        """Add a run, and replace the file at once."""
        self.runs.append(run)
        write_runs(self.path, self.header, self.runs)
