"""The study behind the chapter activation: complete, rates inside their windows, and first weights that are as it says."""
from collections import defaultdict

import numpy as np
import pytest

from imagebook.studies import read_record


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("activation")


@pytest.fixture(scope="module")
def runs(study):
    return read_record(study.STUDY.path)  # with what lies outside the grid, if there is any


def test_every_run_of_the_grid_is_recorded(study, runs):
    assert {study.STUDY.key(run) for run in runs} == {study.STUDY.key(settings) for settings in study.STUDY.grid()}
    for run in runs:
        assert "error" not in run and len(run["val_accuracy"]) == study.EPOCHS
        assert len(run["norms_before"]) == run["hidden_layers"] + 1


def test_where_something_was_learnt_the_best_rate_is_not_the_last_one_tried(runs):
    accuracy = defaultdict(lambda: defaultdict(list))
    for run in runs:
        key = run["activation"], run["hidden_layers"], run["start"]
        accuracy[key][run["learning_rate"]].append(run["val_accuracy"][-1])
    for key, by_rate in accuracy.items():
        means = {rate: np.mean(values) for rate, values in by_rate.items()}
        best = max(means, key=means.get)
        assert means[best] < 0.5 or min(means) < best < max(means), key


def test_own_gains_are_the_known_ones(study):
    assert study.own_gain("linear") == pytest.approx(1, abs=1e-6)
    assert study.own_gain("relu") == pytest.approx(2, abs=1e-6)  # He's rule
    assert study.own_gain("leaky_relu") == pytest.approx(2 / (1 + 0.2**2), abs=1e-6)
    assert 1 / study.own_gain("tanh") == pytest.approx(0.394294, abs=1e-5)


def test_the_centred_sigmoid_is_the_tanh_network(runs):
    # The same function, and inner kernels four times as large: so their gradients are a quarter as long.
    before = {(run["activation"], run["hidden_layers"], run["start"], run["seed"]): np.array(run["norms_before"]) for run in runs}
    for (activation, depth, start, seed), norms in before.items():
        if start == "centred":
            tanh = before["tanh", depth, "own", seed]
            assert norms[0] == pytest.approx(tanh[0] / 2, rel=0.02)
