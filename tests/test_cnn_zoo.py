"""The record behind the chapter cnn-zoo: complete, with a rate chosen inside the list that was tried."""
import json
import math
from collections import defaultdict
from pathlib import Path

import pytest

RECORD = json.loads((Path(__file__).parent.parent / "experiments" / "cnn_zoo.json").read_text(encoding="utf-8"))
CELLS = defaultdict(list)
for run in RECORD["runs"]:
    CELLS[run["network"], run["depth"]].append(run)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_chosen_rate_has_three_seeds_and_neighbours(cell):
    first = {run["rate"]: run["val_loss"][-1] or math.inf for run in CELLS[cell] if run["seed"] == 0}
    best = min(first, key=first.get)
    assert {run["seed"] for run in CELLS[cell] if run["rate"] == best} == {0, 1, 2}
    assert best in (0.001, 1.0) or min(first) < best < max(first), "the best rate is at the end of the list"


def test_runs_are_those_of_the_header():
    for run in RECORD["runs"]:
        assert run["network"] in RECORD["networks"]
        assert len(run["loss"]) == RECORD["epochs"]
        assert run["parameters"] > 0 and 0 <= run["test_accuracy"] <= 1
