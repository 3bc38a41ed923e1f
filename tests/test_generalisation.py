"""The records that the chapter on generalisation reads are whole, small and within their units."""
import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "experiments"


def rows(name):
    return list(csv.DictReader((FOLDER / f"generalisation_{name}.csv").open(encoding="utf-8")))


def test_records_are_small():
    assert all(path.stat().st_size <= 300_000 for path in FOLDER.glob("generalisation_*"))


def test_peeking_counts_pieces_of_a_hundred():
    with np.load(FOLDER / "generalisation_peeking.npz") as file:
        counts = file["counts"]
    assert counts.shape == (128, 30, 100) and counts.max() <= 100
    assert np.all(counts[:, -1].mean(axis=1) > 80), "a run that learnt nothing"


def test_seeds_hold_ten_thousand_bits_each():
    with np.load(FOLDER / "generalisation_seeds.npz") as file:
        assert {name: bits.shape for name, bits in file.items()} == {"plain": (20, 1250), "dropout": (20, 1250)}


def test_regularisers_fill_their_grid():
    record = json.loads((FOLDER / "generalisation_regularisers.json").read_text(encoding="utf-8"))
    grid = set(itertools.product(["decoupled"], [0, 0.25, 0.5, 0.75], [0, 1, 5], [250, 1000, 4000], range(5)))
    grid |= set(itertools.product(["L2"], [0], [0.001, 0.01], [250, 1000, 4000], range(5)))
    keys = "penalty", "dropout", "weight_decay", "images", "seed"
    assert sorted(tuple(run[key] for key in keys) for run in record["runs"]) == sorted(grid)
    assert all(len(run["val_loss"]) == record["epochs"] for run in record["runs"])


@pytest.mark.parametrize("name, keys, count", [
    ("capacity", ["units", "images", "seed"], 8 * 3 * 5),
    ("shift", ["model", "seed", "kind", "strength"], 4 * 5 * 25),
    ("writers", ["start"], 6),
])
def test_tables_hold_every_setting_once(name, keys, count):
    settings = [tuple(row[key] for key in keys) for row in rows(name)]
    assert len(settings) == len(set(settings)) == count
    accuracies = [float(value) for row in rows(name) for key, value in row.items() if "accuracy" in key]
    assert all(0 <= value <= 1 for value in accuracies)
