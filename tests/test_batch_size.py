"""The study of chapter `batch-size`: its record is whole, and its schedules keep their budgets."""
import numpy as np
import pytest

from imagebook.studies import read_record


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("batch_size")


@pytest.fixture(scope="module")
def runs(study):
    return read_record(study.STUDY.path)  # with what lies outside the grid, if there is any


def test_budgets_are_kept(runs):
    for run in runs:
        assert len(run["val_loss"]) == 8
        if run["plan"] == "steps":
            assert run["steps"] == 768
        elif run["plan"] != "batch grows":
            assert run["images"] == 8 * 6144
            assert run["steps"] == run["images"] // run["batch_size"]


def test_best_rates_lie_inside_their_ranges(runs):
    means = {}
    for run in runs:
        cell = means.setdefault((run["plan"], run["optimizer"], run["batch_size"]), {})
        cell.setdefault(run["learning_rate"], []).append(run["val_accuracy"][-1])
    for key, cell in means.items():
        if key[0] == "images":
            best = max(cell, key=lambda rate: np.mean(cell[rate]))
            assert min(cell) < best < max(cell), key


def test_the_two_ways_to_calm_a_walk_keep_the_same_ratio(study):
    falls, grows = study.schedule("rate falls", 32, 0.5), study.schedule("batch grows", 32, 0.5)
    for (size, rate, passes), (other_size, other_rate, other_passes) in zip(falls, grows):
        assert size == 32 and other_rate == 0.5 and passes == other_passes == 1
        assert rate / size == other_rate / other_size


def test_warm_up_rises_in_a_straight_line_and_stays(study):
    rates = np.concatenate([rates for _, rates, _ in study.schedule("warm-up", 1024, 0.25)])
    assert len(rates) == 48
    assert np.allclose(np.diff(rates[:12]), 0.25 / 12)
    assert np.all(rates[11:] == 0.25)


def test_stages_show_every_image_equally_often(study):
    for plan, size in (("images", 8), ("steps", 512), ("rate falls", 32)):
        stages = study.schedule(plan, size, 0.1)
        images = sum(passes for _, _, passes in stages) * study.IMAGES
        assert images == (study.STEPS * size if plan == "steps" else study.EPOCHS * study.IMAGES)


def test_traces_are_ordered_and_end_within_the_run(runs):
    for run in runs:
        steps, images, _ = np.array(run["trace"], float).T
        assert np.all(np.diff(steps) > 0) and np.all(np.diff(images) > 0)
        assert steps[-1] <= run["steps"] and images[-1] <= run["images"]
