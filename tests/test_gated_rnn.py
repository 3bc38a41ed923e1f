"""The record of the chapter on gated networks: complete, and of validation digits where it says so."""
import json
from pathlib import Path

import numpy as np

from imagebook import load_mnist

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
RECORD = EXPERIMENTS / "gated_rnn.json"


def test_three_seeds_beside_every_comparison():
    found = {}
    for run in json.loads(RECORD.read_text(encoding="utf-8"))["runs"]:
        key = tuple(run.get(name) for name in ("part", "network", "cell", "order", "learning_rate"))
        found.setdefault(key, set()).add(run["seed"])
    groups = {}
    for key, seeds in found.items():
        groups.setdefault(key[:-1], []).append(seeds)
    assert {key[0] for key in groups} == {"memory", "zoo", "rows", "strips", "pixels"}
    for key, rates in groups.items():
        assert {0, 1, 2} in rates, key


def test_beliefs_are_probabilities_about_validation_digits():
    (x_train, y_train), _ = load_mnist()
    validation = {image.tobytes(): label for image, label in zip(x_train[-2000:], y_train[-2000:])}
    with np.load(EXPERIMENTS / "gated_rnn_rows.npz") as file:
        images, labels, beliefs = file["images"], file["labels"], file["probabilities"]
        assert beliefs.shape == (len(file["names"]), len(images), 28, 10) and beliefs.dtype == np.uint8
    assert [validation[image.tobytes()] for image in images] == labels.tolist()
    assert (np.bincount(labels, minlength=10) == 4).all()
    assert len({image.tobytes() for image in images}) == len(images)
    assert (abs(beliefs.sum(axis=-1, dtype=int) - 255) <= 5).all()


def test_what_is_shipped_is_small():
    assert (EXPERIMENTS / "gated_rnn_strips.npz").stat().st_size < 300_000
    assert (EXPERIMENTS / "gated_rnn_rows.npz").stat().st_size < 100_000
