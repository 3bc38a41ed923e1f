"""The studies of chapter `automl`: the table is whole and fair, the searches kept their budget, the formulas hold."""
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from imagebook.studies import multiply_accumulates, read_record, small_network

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("automl")


@pytest.fixture(scope="module")
def runs(study):
    return read_record(study.STUDY.path)


@pytest.fixture(scope="module")
def searched():
    return json.loads((EXPERIMENTS / "automl_search.json").read_text(encoding="utf-8"))


def test_the_table_is_whole_and_holds_what_the_numbers_draw(study, runs):
    assert sorted((run["number"], run["seed"]) for run in runs) == [
        (number, seed) for number in range(study.NUMBERS) for seed in (0, 1)]
    for run in runs:
        assert {name: run[name] for name in study.SPACE} == study.draw(run["number"])
        assert len(run["val_accuracy"]) == study.EPOCHS


def test_no_network_of_the_table_is_larger_than_the_small_one(study, runs):
    small = small_network()
    assert (study.PARAMETERS, study.PRODUCTS) == (small.count_params(), multiply_accumulates(small))
    for run in runs:
        setting = study.draw(run["number"])
        width = study.widest(setting)
        assert (run["parameters"], run["products"]) == study.size(setting, width)
        assert run["parameters"] <= study.PARAMETERS and run["products"] <= study.PRODUCTS
        wider = study.size(setting, width + 1)
        assert wider[0] > study.PARAMETERS or wider[1] > study.PRODUCTS


def test_the_small_network_is_a_point_of_the_space(study):
    network, small = study.network(study.HAND), small_network()
    assert study.widest(study.HAND) == 8
    assert [weight.shape for weight in network.get_weights()] == [weight.shape for weight in small.get_weights()]
    for name, values in study.SPACE.items():
        low, high = min(values, key=str), max(values, key=str)
        assert study.HAND[name] in values if isinstance(values, list) else low <= study.HAND[name] <= high


def test_sizes_are_those_of_keras(study):
    for number in (0, 3, 7, 12):
        setting = study.draw(number)
        network = study.network(setting)
        assert study.size(setting, study.widest(setting)) == (network.count_params(), multiply_accumulates(network))


def test_searches_kept_their_budget(study, searched):
    for method in ("RandomSearch", "Hyperband", "BayesianOptimization"):
        assert {0, 1, 2} <= {search["seed"] for search in searched["searches"] if search["method"] == method}
    for search in searched["searches"]:
        assert search["epochs"] == searched["budget"] == sum(t["to"] - t["from"] for t in search["trials"])
        best = max(search["trials"], key=lambda trial: trial["val_accuracy"])
        assert math.isclose(search["chosen"]["learning_rate"], best["setting"]["learning_rate"], rel_tol=1e-3)
    assert len(searched["grid"]) * study.EPOCHS <= searched["budget"]


def test_finals_are_trained_with_seeds_of_their_own(study, searched):
    chosen = {(search["method"], search["seed"]): search["chosen"] for search in searched["searches"]}
    for end in searched["finals"]:
        assert len(end["val_accuracy"]) == len(end["test_accuracy"]) == 5
        assert end["parameters"] <= study.PARAMETERS and end["products"] <= study.PRODUCTS
        assert end["setting"] == chosen.get((end["by"], end["seed"]), end["setting"])
    assert {end["by"] for end in searched["finals"]} == {
        "hand", "grid", "default", "table", "RandomSearch", "Hyperband", "BayesianOptimization"}


def test_the_best_of_the_table_was_chosen_by_both_seeds(study, searched, runs):
    mean = {}
    for run in runs:
        mean[run["number"]] = mean.get(run["number"], 0) + run["val_accuracy"][-1]
    table = next(end for end in searched["finals"] if end["by"] == "table")
    assert table["setting"] == study.draw(max(mean, key=mean.get))


def test_every_search_begins_with_settings_of_its_own(searched):
    first = [tuple(search["trials"][0]["setting"].values()) for search in searched["searches"]]
    by_seed = {search["seed"] for search in searched["searches"]}
    assert len(set(first)) == len(by_seed)  # the three methods draw their first lot alike


def test_the_best_of_a_hand_is_counted_right():
    values = np.random.default_rng(0).random(9)
    rising = np.sort(values)
    for n in (1, 3, 8):
        weights = [math.comb(i - 1, n - 1) / math.comb(9, n) for i in range(1, 10)]
        by_hands = np.mean([max(hand) for hand in itertools.combinations(values, n)])
        assert math.isclose(np.dot(weights, rising), by_hands)


def test_a_trial_goes_on_where_it_stood(study, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    monkeypatch.setitem(sys.modules, "automl", study)
    import automl_search

    class Looker:
        def __init__(self, *arguments):
            self.done = 0

        def fit(self, seed, rate, epochs, batch_size):
            self.done += epochs
            assert self.done <= study.EPOCHS
            return {"val_accuracy": [0.1 * self.done]}

    monkeypatch.setattr(study, "Trainer", Looker)
    monkeypatch.setattr(study, "network", lambda setting: None)
    monkeypatch.setattr(study, "start", lambda trainer, seed: None)
    tuner = automl_search.make_tuner(study, "Hyperband", 0, str(tmp_path))
    tuner.search(verbose=0)
    assert sum(trial["to"] - trial["from"] for trial in tuner.tried) == automl_search.BUDGET
    for trial in tuner.tried:
        assert math.isclose(trial["val_accuracy"], 0.1 * trial["to"])  # and so no trial was trained twice
