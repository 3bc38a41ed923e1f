"""The records of experiments that are not studies: one JSON object, what was held fixed and then one run a line.

See `experiments/rnn.py` for one that is read by a chapter.
"""
import json
import math
import os
from pathlib import Path


def short(value, digits=4):
    """Return a number with so many significant digits, or None for one that is infinite or not a number."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


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
    """Replace the record at once, so that an interruption leaves the old one."""
    start = json.dumps(header, ensure_ascii=False, indent=1).removesuffix("\n}")
    lines = ",\n".join(json.dumps(run, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for run in runs)
    beside = Path(path).with_suffix(".partial")
    beside.write_text(f'{start},\n "runs": [\n{lines}\n]}}\n', encoding="utf-8")
    os.replace(beside, path)
