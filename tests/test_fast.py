"""The records behind the chapter fast: chosen on validation images, tested once, within the limits that it claims."""
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from imagebook import load_mnist

HERE = Path(__file__).parent.parent / "experiments"


def read(name):
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


FAST, BEST, BENCH = read("fast"), read("fast_best"), read("fast_benchmark")
PROGRAMS = defaultdict(list)
for found in BENCH["runs"]:
    PROGRAMS[found["program"]].append(found)


def test_only_frozen_recipes_saw_the_test_images():
    for run in FAST["runs"]:
        assert ("test_accuracy" in run) == (run["set"] == "final")
        assert ("val_accuracy" in run) != (run["set"] == "final")
    for run in BEST["runs"]:
        assert any(key.startswith("test") for key in run) == (run["step"] in ("member", "ensemble"))


def test_final_runs_are_the_recipe_and_all_reach_99_percent():
    final = [run for run in FAST["runs"] if run["set"] == "final"]
    assert [run["seed"] for run in final] == list(range(10))
    for run in final:
        assert {key: run[key] for key in FAST["recipe"]} == FAST["recipe"] | {"images": FAST["final_images"]}
        assert run["test_accuracy"] >= 0.99


def test_curves_have_one_value_a_look():
    for run in FAST["runs"]:
        if run["set"] != "final":
            assert len({len(run[key]) for key in ("loss", "val_loss", "accuracy", "val_accuracy", "images")}) == 1
        assert run["cpu_seconds"] > 0


def test_recipe_is_twenty_times_faster_than_the_article():
    article, ours = PROGRAMS["article"], PROGRAMS["recipe"]
    assert article[-1]["test_accuracy"] >= 0.99 > max(run["test_accuracy"] for run in article[:-1])
    assert len(ours) >= 2 and min(run["test_accuracy"] for run in ours) >= 0.99
    slowest = max(run["cpu_seconds"] for run in ours)
    assert article[-1]["cpu_seconds"] / slowest >= 20
    assert 10 * article[-1]["cpu_seconds"] / len(article) / slowest >= 20


def test_best_keeps_its_budget():
    members = [run for run in BEST["runs"] if run["step"] == "member"]
    assert len(members) == BEST["final"]["members"]
    (result,) = [run for run in BEST["runs"] if run["step"] == "ensemble"]
    assert result["cpu_seconds"] == pytest.approx(sum(run["cpu_seconds"] for run in members), abs=0.2)
    assert result["cpu_seconds"] + result["answer_seconds"][-1] <= 1200


def test_stored_probabilities_give_the_recorded_accuracies():
    (_, y), (_, y_test) = load_mnist()
    with np.load(HERE / "fast_best.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert all(values.shape == (10_000, 10) and values.dtype == np.uint8 for values in arrays.values())
    for part, labels, key, step, group in (
        ("test", y_test, "test_accuracy_views", "member", "ensemble"),
        ("validation/warped images", y[-10_000:], "val_accuracy_views", "warped images", "5 members"),
    ):
        single = [run for run in BEST["runs"] if run["step"] == step]
        answers = [arrays.pop(f"{part}/{run['seed']}/views") for run in single]
        (whole,) = [run for run in BEST["runs"] if run["step"] == group]
        for run, values in zip([*single, whole], [*answers, np.mean(answers, axis=0)]):
            assert np.mean(values.argmax(axis=1) == labels) == pytest.approx(run[key], abs=1e-6)
    assert not arrays


def test_arrays_are_small():
    assert (HERE / "fast_best.npz").stat().st_size < 600_000
