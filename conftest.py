"""The notebooks under `pytest --nbval`: kernels with the book's settings, and what each chapter costs in time and memory."""
import csv
import json
import os
import re
from collections import defaultdict
from pathlib import Path

import pytest

from imagebook.records import replacing

ROOT = Path(__file__).parent
COSTS = ROOT / "experiments" / "chapters.csv"
LIMIT = 1.5  # GiB for a kernel: Binder gives 2 to a machine, and the rest of Jupyter needs some

os.environ["IPYTHONDIR"] = str(ROOT / "ipython")
seconds, gibibytes = defaultdict(float), {}


def pytest_addoption(parser):
    parser.addoption("--record-costs", action="store_true", help=f"write minutes, seconds and memory of each chapter into {COSTS.name}")


def peak_memory(kernel):
    """Return the most memory that a kernel's process has held, in GiB, or None where the system does not say (not Linux)."""
    try:
        status = Path(f"/proc/{kernel.km.provisioner.pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**20


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item, nextitem):
    """Before the kernel of a notebook is stopped behind its last cell, ask what it needed."""
    kernel = getattr(item.parent, "kernel", None)
    needed = peak_memory(kernel) if kernel and (nextitem is None or nextitem.parent is not item.parent) else None
    if needed:
        item.user_properties.append(("gibibytes", needed))
    outcome = yield
    if needed and round(needed, 1) > LIMIT:  # to a tenth: the peak of one notebook varies by that from run to run
        pytest.fail(f"{item.nodeid.split('::')[0]} needed {needed:.2f} GiB of memory, more than {LIMIT}: Binder would stop it.")
    return outcome


def pytest_runtest_logreport(report):
    name = report.nodeid.split("::")[0]
    if name.endswith(".ipynb"):
        seconds[name] += report.duration
        gibibytes.update({name: value for key, value in report.user_properties if key == "gibibytes"})


def pytest_terminal_summary(terminalreporter, config):
    if not seconds:
        return
    terminalreporter.section("what the chapters cost")
    for name, duration in seconds.items():
        terminalreporter.write_line(f"{duration:5.0f} s {gibibytes.get(name, float('nan')):5.2f} GiB  {name}")
    if config.getoption("record_costs"):
        record()


def record():
    """Write the table that the page for teachers shows; a chapter that was not run keeps its line."""
    with COSTS.open(newline="", encoding="utf-8") as file:
        lines = {line["chapter"]: line for line in csv.DictReader(file)}
    for name, duration in seconds.items():
        opening = "".join(json.loads((ROOT / name).read_text(encoding="utf-8"))["cells"][0]["source"])
        chapter = f"{{ref}}`{Path(name).stem}`"
        lines[chapter] = {"chapter": chapter, "reading in min": re.search(r"\*\*Reading\*\* (\d+) min", opening)[1],
                          "running in s": round(duration), "memory in GiB": f"{gibibytes[name]:.2f}" if name in gibibytes else ""}
    order = re.findall(r"file: chapters/\w+/(\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    with replacing(COSTS) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["chapter", "reading in min", "running in s", "memory in GiB"], lineterminator="\n")
        table.writeheader()
        table.writerows(lines[chapter] for slug in order if (chapter := f"{{ref}}`{slug}`") in lines)
