"""The recorded runs behind the repaired program: complete, consistent with each other, and saying what the chapter says."""
import json
from pathlib import Path

import numpy as np
import pytest

from imagebook import load_mnist

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
FAST = ("Adadelta, 1.0", "Adam, 0.001")


@pytest.fixture(scope="module")
def runs():
    return json.loads((EXPERIMENTS / "repaired.json").read_text(encoding="utf-8"))["runs"]


@pytest.fixture(scope="module")
def arrays():
    with np.load(EXPERIMENTS / "repaired.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def ablation():
    return json.loads((EXPERIMENTS / "repaired_ablation.json").read_text(encoding="utf-8"))["runs"]


def test_every_program_has_five_seeds_of_ten_epochs(runs):
    settings = [(run["optimizer"], run["seed"]) for run in runs]
    assert len(set(settings)) == len(settings)
    for optimizer in ("Adadelta, 0.001", *FAST):
        assert {seed for name, seed in settings if name == optimizer} >= set(range(5))
    for run in runs:
        assert {len(run[name]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")} == {10}
        assert run["parameters"] == 1_199_882


def test_the_stored_answers_give_the_recorded_accuracy(runs, arrays):
    labels = load_mnist()[1][1]
    for run in runs:
        name = f"{run['optimizer']}/{run['seed']}"
        assert np.mean(arrays[f"answers/{name}"] == labels) == pytest.approx(run["test_accuracy"], abs=1e-9)
        if run["optimizer"] == "Adadelta, 1.0":
            logits = arrays[f"logits_test/{name}"]
            assert (logits.argmax(axis=1) == arrays[f"answers/{name}"]).mean() > 0.9995  # rounding may make a tie
            validation = np.mean(arrays[f"logits_validation/{name}"].argmax(axis=1) == load_mnist()[0][1][-10_000:])
            assert validation == pytest.approx(run["val_accuracy"][-1], abs=0.0005)


def test_the_learning_rate_is_what_was_wrong(runs):
    accuracy = {(run["optimizer"], run["seed"]): run["test_accuracy"] for run in runs}
    for seed in range(5):
        assert accuracy["Adadelta, 0.001", seed] < 0.83
        assert min(accuracy[name, seed] for name in FAST) > 0.985


def test_the_ablation_is_complete_and_labels_do_not_matter(ablation):
    parts = {run["left_out"] for run in ablation}
    assert len(ablation) == len({(run["left_out"], run["seed"]) for run in ablation}) >= 3 * len(parts) == 36
    curves = {(run["left_out"], run["seed"]): run for run in ablation}
    for seed in range(3):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            np.testing.assert_allclose(curves["one-hot labels", seed][name], curves["nothing", seed][name], rtol=1e-3)
        final = {part: curves[part, seed]["val_accuracy"][-1] for part in parts}
        assert min(final, key=final.get) == "both convolutions"
