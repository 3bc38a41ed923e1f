"""The study behind the chapter kernel-size: complete, as dear as it says, and with the rates in between chosen."""
from collections import defaultdict

import numpy as np
import pytest
from scipy import signal

from imagebook.studies import read_record


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("kernel_size")


@pytest.fixture(scope="module")
def runs(study):
    return read_record(study.STUDY.path)  # with what lies outside the grid, if there is any


def test_every_run_of_the_grid_is_recorded(study, runs):
    assert {study.STUDY.key(run) for run in runs} == {study.STUDY.key(settings) for settings in study.STUDY.grid()}
    for run in runs:
        assert "error" not in run and len(run["val_accuracy"]) == study.EPOCHS


def test_what_is_called_equal_is_equal(study, runs):
    for run in runs:
        maps = tuple(run["maps"])
        parameters, products = study.costs(run["block"], maps, run["size"])
        assert run["block_parameters"] == parameters
        last = maps[-1] * (run["size"] // 4) ** 2 if run["head"] == "flattened" else maps[-1]
        assert run["parameters"] == parameters + 10 * (last + 1)
        assert run["multiply_accumulates"] == products + 10 * last
        if run["equal"] == "parameters":
            assert parameters == pytest.approx(study.EQUAL["parameters"], rel=0.05)
        elif run["equal"] == "products":
            assert products == pytest.approx(study.EQUAL["products"], rel=0.05)
        else:
            assert maps == study.EQUAL["maps"]


def test_costs_of_one_network_by_hand(study):
    # 3×3 kernels, 1 -> 2 -> 4 maps: 18 weights on 784 places, 72 on 196; 6 biases.
    assert study.costs("3", (2, 4)) == (18 + 72 + 6, 18 * 784 + 72 * 196)
    assert study.costs("3", (2, 4), size=56)[1] == 4 * study.costs("3", (2, 4))[1]


def test_maps_shrink_as_kernels_grow(study):
    for equal in ("parameters", "products"):
        single = [np.sqrt(np.prod(study.numbers_of_maps(str(k), equal))) for k in (1, 3, 5, 7, 9)]
        assert all(small > large for small, large in zip(single, single[1:]))
        assert np.ptp(np.log(single * np.array([1, 3, 5, 7, 9]))) < 0.45  # the law n ∝ 1/k, up to whole maps


def test_every_network_has_all_its_rates_with_three_seeds(study, runs):
    accuracy = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run["size"] == 28:
            key = run["block"], run["equal"], run["head"]
            accuracy[key][run["learning_rate"]].append(run["val_accuracy"][-1])
    for key, by_rate in accuracy.items():
        assert sorted(by_rate) == study.RATES[key[2]] and all(len(values) == 3 for values in by_rate.values()), key


def test_a_stack_without_activation_is_one_kernel():
    draw = np.random.default_rng(0)
    first, second, image = draw.normal(size=(3, 3)), draw.normal(size=(3, 3)), draw.normal(size=(12, 12))
    stacked = signal.correlate2d(signal.correlate2d(image, first, "valid"), second, "valid")
    assert np.allclose(stacked, signal.correlate2d(image, signal.convolve2d(first, second), "valid"))
