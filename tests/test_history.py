"""The record of ImageNet results cites its sources, and the recorded runs are complete and chosen as they claim."""
import csv
import re
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def read(name):
    with open(ROOT / "experiments" / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", read("history_imagenet"), ids=lambda row: f"{row['year']} {row['system']}")
def test_every_result_says_where_it_is_printed(row):
    keys = re.findall(r"@\w+\{([^,]+),", (ROOT / "references.bib").read_text(encoding="utf-8"))
    assert row["key"] in keys and row["where"]
    assert row["set"] in ("test", "validation") and row["extra_data"] in ("yes", "no")
    assert row["checked"] in ("paper", "another paper", "second hand")
    assert row["top5_error"] or row["top1_error"]
    assert all(0 < float(row[name]) < 100 for name in ("top5_error", "top1_error") if row[name])


SETTINGS = ("activation", "pooling", "rule", "dropout", "images", "steps")
DRESSES = list(product(("tanh", "ReLU"), ("average", "max"), ("SGD", "Adam"), ("0.0", "0.5")))
GRID = [(*dress, images, steps) for dress, images, steps in product(
    (DRESSES[0], DRESSES[-1]), ("500", "5000", "50000"), ("40", "400", "4000"))]
TRICKS = [(*dress, "5000", "400") for dress in DRESSES]


@pytest.mark.parametrize("part, settings", [("grid", s) for s in GRID] + [("tricks", s) for s in TRICKS], ids=str)
def test_runs_are_complete_and_their_rate_was_chosen_by_validation(part, settings):
    rows = [row for row in read("history_runs") if tuple(row[name] for name in SETTINGS) == settings]
    used = [row for row in rows if row["part"] == part]
    assert sorted(row["seed"] for row in used) == ["0", "1", "2"]
    assert len({row["rate"] for row in used}) == 1
    errors = {}
    for row in rows:
        if row["part"] == f"rates, {part}":
            errors.setdefault(row["rate"], []).append(float(row["validation_error"]))
    assert len(errors) >= 2
    assert sum(errors[used[0]["rate"]]) <= min(map(sum, errors.values())) + 1e-9, "not the rate that validates best"
