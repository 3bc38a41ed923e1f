"""The part's index: what its twelve claims rest on, and the scores that its text derives."""
import json
from pathlib import Path

import nbformat
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "chapters" / "trends" / "trends.ipynb"


@pytest.fixture(scope="module")
def cells():
    return nbformat.read(NOTEBOOK, as_version=4).cells


@pytest.fixture(scope="module")
def glued(cells):
    """What the notebook's cells have made available to its text."""
    found = {}
    for cell in cells:
        for output in cell.get("outputs", []):
            if name := output.get("metadata", {}).get("scrapbook", {}).get("name"):
                found[name] = output.data["application/papermill.record/text/plain"].strip("'")
    return found


def test_every_claim_has_an_outcome_and_its_number(cells, glued):
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for number in range(1, 13):
        assert f"{{dropdown}} {number}. " in text
        assert glued[f"trends-{number}"] in ("True.", "False.")
        assert f"{{glue:text}}`trends-{number}:s`" in text and f"{{glue:text}}`trends-{number}a:s`" in text
    assert glued["trends-true"] == str(sum(glued[f"trends-{number}"] == "True." for number in range(1, 13)))


def test_outcomes_follow_from_their_numbers(glued):
    value = {name: float(word.replace("−", "-").replace(",", "")) for name, word in glued.items() if not word.endswith(".")}
    rules = {
        1: value["trends-1a"] >= 5, 2: value["trends-2a"] >= 0.5, 3: value["trends-3a"] >= 9990, 4: value["trends-4a"] > 1,
        5: value["trends-5a"] > 0, 6: value["trends-6a"] > value["trends-6b"], 7: value["trends-7a"] < 0.1,
        8: value["trends-8a"] >= 0.5, 9: value["trends-9a"] >= 95, 10: value["trends-10a"] <= 1,
        11: abs(value["trends-11a"] - value["trends-11b"]) <= 1, 12: value["trends-12b"] <= value["trends-12a"] / 2,
    }
    for number, holds in rules.items():
        assert glued[f"trends-{number}"] == f"{bool(holds)}.", number


def test_claims_are_resolved_by_the_records(glued):
    """Two of them again, by other code."""
    files = json.loads((ROOT / "experiments" / "edge_deploy.json").read_text(encoding="utf-8"))["files"]
    article = {entry["file"]: entry["test_accuracy"] for entry in files if entry["file"].startswith("article ")}
    assert abs(100 * (article["article float32"] - article["article int8"]) - float(glued["trends-7a"].replace("−", "-"))) < 0.006
    growth = json.loads((ROOT / "experiments" / "frameworks.json").read_text(encoding="utf-8"))["growth"]["result"]
    assert f"{10_000 * (1 - np.mean(growth['differ']['torch'])):,.0f}" == glued["trends-3a"]


@pytest.mark.parametrize("power", [1.5, 2, 3])
def test_only_the_square_is_proper_among_powers(power):
    stated = np.linspace(0.001, 0.999, 999)
    for believed in (0.2, 0.7, 0.9):
        best = stated[(believed * (1 - stated) ** power + (1 - believed) * stated**power).argmin()]
        odds = (believed / (1 - believed)) ** (1 / (power - 1))
        assert abs(best - odds / (1 + odds)) < 0.001
        assert (abs(best - believed) < 0.001) == (power == 2)
