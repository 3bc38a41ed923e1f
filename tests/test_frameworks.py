"""Chapter `frameworks`: every installed backend agrees, two processes train as one, and nothing is left running."""
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
LAST = "layer_5"  # the logits of the small network


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("frameworks")


@pytest.fixture(scope="module")
def record():
    parts = json.loads((EXPERIMENTS / "frameworks.json").read_text(encoding="utf-8"))
    return {name: part["result"] for name, part in parts.items() if name != "about"}


@pytest.fixture(scope="module")
def exact(study):
    return study.sound(study.on_backend("tensorflow", "agree", dtype="float64"))


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_an_installed_backend_computes_the_same(study, exact, backend):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} comes with the dependency group `backends`")
    here = study.sound(study.on_backend(backend, "agree"))
    assert here[LAST].dtype == np.float32 and exact[LAST].dtype == np.float64
    assert abs(here[LAST] - exact[LAST]).max() < 1e-5
    assert abs(here["loss"] - exact["loss"]) < 1e-5
    assert study.distance(here["gradient"], exact["gradient"]) < 1e-5


@pytest.mark.parametrize("backend, mode", [("jax", "compiled"), ("torch", "eager")])
def test_an_installed_backend_trains_the_same(study, backend, mode):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} comes with the dependency group `backends`")
    settings = {"epochs": 1, "snapshots": [1, 4]}
    here = study.sound(study.on_backend(backend, "train", mode=mode, **settings))
    there = study.sound(study.on_backend("tensorflow", "train", **settings))
    assert all(study.distance(*pair) < 1e-5 for pair in zip(here["weights"], there["weights"]))


def test_two_processes_train_as_one_and_the_survivor_is_told(study, tmp_path):
    train = {"job": "train", "steps": 2}
    fatal = {**train, "steps": 9, "every": 4, "folder": str(tmp_path), "dies": [1, 6]}
    workers = study.together([train, {**train, "shares": [100, 28]}, fatal], timeout=300, grace=60, tries=3)
    single = study.sound(study.alone([train], timeout=300))["0_weights"]
    assert study.distance(workers[0]["0_weights"], single) < 1e-6
    assert study.distance(workers[0]["1_weights"], single) < 1e-6
    assert workers[0]["code"] == 1 and str(workers[0]["2_error"]) == "UnavailableError"
    assert workers[1]["code"] not in (0, 1)
    assert (tmp_path / "0" / "checkpoint").is_file()


def test_a_process_that_hangs_is_killed_with_what_it_started(study, tmp_path):
    beat, up = tmp_path / "beat", tmp_path / "up"
    child = f"import time\nwhile True: open({str(beat)!r}, 'a').write('.'); time.sleep(0.05)"
    code = (f"import os, subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}])\n"
            f"while not os.path.exists({str(beat)!r}): time.sleep(0.05)\n"
            f"print('up', file=sys.stderr, flush=True); open({str(up)!r}, 'w'); time.sleep(600)")
    process = study.start("-c", code)
    try:
        for _ in range(1200):
            if up.exists():
                break
            time.sleep(0.05)
        began = time.monotonic()
        ended, words = study.finish(process, 1)
    finally:
        study.stop(process)
    assert ended is None and "up" in words and time.monotonic() - began < 300
    if hasattr(os, "killpg"):
        time.sleep(0.5)
        size = beat.stat().st_size
        time.sleep(1)
        assert beat.stat().st_size == size


def test_recorded_backends_agree_to_rounding(record):
    for parts in record["agreement"].values():
        for backend in ("tensorflow", "jax", "torch", "numpy"):
            assert max(parts[backend]["layers"]) < 1e-6 and parts[backend]["loss"] < 1e-6
            assert backend == "numpy" or parts[backend]["gradient"] < 2e-6


def test_recorded_rounding_grows_and_stays_below_another_seed(record):
    growth = record["growth"]
    assert growth["again"] == 0
    for name in ("jax", "torch", "XLA", "float64", "nudged"):
        distances = growth["distance"][name]
        assert distances[0] < 1e-6 and distances[-1] > 100 * distances[0]
        assert max(distances) < min(growth["distance"]["seed"])
    for name in ("jax", "torch", "nudged"):
        assert np.mean(growth["differ"][name]) < np.mean(growth["differ"]["seeds"])


def test_recorded_workers_hold_the_same_bits(record):
    for name, entry in record["shards"].items():
        if name != "cpu_seconds":
            assert entry["between workers"] == 0, name
    assert record["shards"]["equal, 1"]["from one process"] < 1e-6
    assert record["shards"]["unequal, 1"]["from one process"] < 1e-6
    assert record["shards"]["mean of means, 1"]["from one process"] > 1e-4
    assert record["shards"]["normalised, 1"]["from one process"] > 1e-4
    assert record["shards"]["synchronized, 1"]["from one process"] < 1e-5


def test_recorded_training_survives_its_workers(record):
    failure = record["failure"]
    for name in ("worker", "chief"):
        assert failure[name]["resumed at"] == 20 and failure[name]["largest difference"] == 0
        assert failure[name]["error of the other"] == "UnavailableError"
    assert failure["forgetful"]["distance"] > 1e-4
    assert failure["fit"]["error"] == "ValueError"
    assert record["pace"]["collective"]["right"]


def test_batches_depend_on_step_and_seed_alone():
    sys.path.append(str(EXPERIMENTS))
    try:
        from frameworks_worker import batches
    finally:
        sys.path.remove(str(EXPERIMENTS))
    once, again = batches(100, 32, 5), batches(100, 32, 5)
    first = [next(once) for _ in range(7)]
    assert all(np.array_equal(one, next(again)) for one in first)
    assert len(set(np.concatenate(first[:3]))) == 96
    assert not np.array_equal(first[0], first[3])
