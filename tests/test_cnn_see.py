"""The record of the attacks is whole, and says what the chapter draws from it."""
import json
from pathlib import Path

import pytest

RECORD = Path(__file__).parent.parent / "experiments" / "cnn_see.json"


@pytest.fixture(scope="module")
def record():
    return json.loads(RECORD.read_text(encoding="utf-8"))


def test_every_kind_has_its_seeds(record):
    kinds = {}
    for run in record["runs"]:
        kinds.setdefault(run["kind"], []).append(run["seed"])
    assert kinds.pop("article") == [0]
    assert len(kinds) == 13 and all(seeds == [0, 1, 2] for seeds in kinds.values())


def test_attacks_are_ordered_as_they_must_be(record):
    shared = [record["sizes"].index(size) for size in record["pgd_sizes"]]
    for run in record["runs"]:
        if "fgsm" not in run:
            continue
        assert run["fgsm"][0] == run["noise"][0]
        # Half of the images take part in PGD, hence the slack.
        assert all(run["pgd"][n] <= run["fgsm"][at] + 0.02 for n, at in enumerate(shared))
        assert 1 <= run["ratio_of_norms"] <= 56
