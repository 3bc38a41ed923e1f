"""The record behind the chapter on relations is whole, and nothing in it was chosen on images that were trained on."""
import json
from pathlib import Path

import pytest

RECORD = Path(__file__).parent.parent / "experiments" / "relations.json"
SIZES = [10, 30, 100, 300, 1000, 3000, 10000, 60000]


@pytest.fixture(scope="module")
def record():
    return json.loads(RECORD.read_text(encoding="utf-8"))


def test_every_method_was_run_at_every_size_with_every_seed(record):
    for method in record["settings"]:
        for size in SIZES:
            seeds = [run["seed"] for run in record["runs"] if run["kind"] == "test" and (run["method"], run["size"]) == (method, size)]
            assert seeds == list(range(5 if size <= 3000 else len(seeds))) and len(seeds) >= (3 if size < 60000 else 1), (method, size)


def test_settings_were_chosen_on_a_draw_that_is_not_measured(record):
    choices = [run for run in record["runs"] if run["kind"] == "choice"]
    assert choices and all(run["seed"] == 100 and run["size"] <= 10_000 for run in choices)
    for run in record["runs"]:
        if run["kind"] == "test":
            size = max((c["size"] for c in choices if c["method"] == run["method"] and c["size"] <= run["size"]), default=1000)
            tried = {c["setting"]: c["accuracy"] for c in choices if (c["method"], c["size"]) == (run["method"], size)}
            assert run["setting"] == max(tried, key=tried.get), run


def test_tables_hold_25_folds(record):
    tables = [run for run in record["runs"] if run["kind"] == "table"]
    assert len(tables) == 8 and all(len(run["accuracies"]) == 25 for run in tables)
