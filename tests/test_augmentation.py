"""The study of chapter `augmentation`: its alterations are what they claim, and its record was made by its rules."""
import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from imagebook.studies import Trainer, load_split, read_record, small_network


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("augmentation")


@pytest.fixture(scope="module")
def runs(study):
    return read_record(study.STUDY.path)


@pytest.fixture(scope="module")
def digits():
    (x, y), _, _ = load_split()
    return x[:64], y[:64]


def test_a_warp_by_nothing_returns_the_image(study, digits):
    chance = keras.random.SeedGenerator(0)
    assert np.allclose(study.warp(digits[0], chance), digits[0], atol=1e-3)


def test_pixels_are_fetched_from_where_they_are_asked_for(study, digits):
    rows, columns = (places.reshape(1, 784).astype("float32") for places in np.mgrid[:28, :28])
    down = np.asarray(study.fetch(digits[0][:3], rows - 1, columns + 2))
    assert np.array_equal(down[:, 1:, :-2, 0], digits[0][:3, :-1, 2:, 0])
    assert np.all(down[:, 0] == 0) and np.all(down[:, :, -2:] == 0)
    half = np.asarray(study.fetch(digits[0][:3], rows + 0.5, columns))
    assert np.allclose(half[:, :-1, :, 0], (digits[0][:3, :-1, :, 0] / 2 + digits[0][:3, 1:, :, 0] / 2), atol=1e-3)


def test_a_turned_warp_is_a_turn_and_a_bend_has_its_size(study):
    dot = np.zeros((500, 28, 28, 1), "float32")
    dot[:, 6:8, 13:15] = 1
    turned = np.asarray(study.warp(dot, keras.random.SeedGenerator(1), turn=30))[..., 0]
    rows, columns = (np.sum(turned * grid, (1, 2)) / turned.sum((1, 2)) - 13.5 for grid in np.mgrid[:28, :28])
    assert np.allclose(np.hypot(rows, columns), 7, atol=0.3)  # it stays on its circle
    angles = np.degrees(np.arctan2(columns, -rows))
    assert 28 < np.abs(angles).max() < 31 and abs(angles.mean()) < 3
    assert np.allclose(np.sum(study.SPREAD**2, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name, strength", [
    ("crop", 2), ("flip", 1), ("rotation", 15), ("zoom", 0.2), ("shear", 0.3), ("elastic", 1), ("all", 1), ("noise", 0.2),
    ("cutout", 0.15), ("mixup", 0.3), ("cutmix", 0.3), ("cutmix, ink", 0.3), ("randaugment", 0.1), ("half turn", 1)])
def test_alterations_are_those_of_their_seed_and_differ_between_images(study, digits, name, strength):
    augment, reseed = study.augmentation(name, strength)
    compiled = tf.function(augment, input_signature=[tf.TensorSpec([None, 28, 28, 1], tf.uint8), tf.TensorSpec([None], tf.int32)])
    images, labels = np.repeat(digits[0][2:3], 64, axis=0), digits[1].astype("int32")
    found = []
    for seed in (0, 1, 0):
        reseed(seed)
        found.append([np.asarray(part) for part in compiled(images if name not in ("mixup", "cutmix", "cutmix, ink") else digits[0], labels)])
    assert found[0][0].shape == (64, 28, 28, 1)
    assert np.array_equal(found[0][0], found[2][0]) and np.array_equal(found[0][1], found[2][1])
    assert not np.array_equal(found[0][0], found[1][0])
    different = len({image.tobytes() for image in found[0][0]})
    assert different >= (2 if name in ("flip", "half turn") else 20 if name != "randaugment" else 1)
    if found[0][1].ndim == 2:
        assert np.allclose(found[0][1].sum(axis=1), 1, atol=1e-5)


def test_a_crop_moves_by_whole_pixels(study, digits):
    augment, reseed = study.augmentation("crop", 2)
    reseed(0)
    cropped = np.asarray(augment(np.repeat(digits[0][2:3], 200, axis=0), None)[0])
    page = np.pad(digits[0][2], ((2, 2), (2, 2), (0, 0)))
    shifts = {page[i:i + 28, j:j + 28].astype("float32").tobytes() for i in range(5) for j in range(5)}
    assert {image.tobytes() for image in cropped} == shifts


def test_labels_by_ink_are_shares_of_ink(study):
    white, grey = np.full((1, 28, 28, 1), 255, "uint8"), np.full((1, 28, 28, 1), 85, "uint8")
    augment, reseed = study.augmentation("cutmix, ink", 1)
    reseed(3)
    images, labels = (np.asarray(part) for part in augment(
        np.concatenate([white, grey] * 32), np.array([0, 1] * 32)))
    ink = np.array([[255 * np.sum(image == 255), 85 * np.sum(image == 85)] for image in images])
    assert np.allclose(labels[:, :2], ink / ink.sum(axis=1, keepdims=True), atol=1e-4)


def test_the_hook_of_the_trainer_is_given_batches_and_may_return_probabilities(digits):
    (x, y), validation, test = load_split()
    data = (x[:256], y[:256]), (validation[0][:256], validation[1][:256]), (test[0][:256], test[1][:256])
    plain = Trainer(small_network(), keras.optimizers.Adam(), data)
    soft = Trainer(small_network(), keras.optimizers.Adam(), data, augment=lambda images, labels: (images, tf.one_hot(labels, 10)))
    first, second = (trainer.run(seed=0, rates=0.004, epochs=2, batch_size=64) for trainer in (plain, soft))
    assert np.allclose(first["loss"], second["loss"], rtol=1e-3) and np.allclose(first["accuracy"], second["accuracy"], atol=0.01)


def test_the_pool_holds_all_training_images_but_those_of_validation(study):
    (x, y), (x_val, _), _ = study.load_pool()
    assert x.shape == (55_904, 28, 28, 1) and len(y) == len(x)
    assert np.array_equal(x[:6144], load_split()[0][0])
    known = {image.tobytes() for image in x_val}
    assert sum(image.tobytes() in known for image in x) == 0


def test_strengths_were_chosen_on_validation_images(study, runs):
    for name, (tried, chosen) in study.STRENGTHS.items():
        cells = {}
        for run in runs:
            if run["augmentation"] == name and run["images"] == study.TUNED and run["steps"] == study.STEPS:
                cells.setdefault(run["strength"], []).append(run["val_accuracy"][-1])
        if cells:
            assert max(cells, key=lambda strength: np.mean(cells[strength])) == chosen, name


def test_all_runs_take_their_steps_and_report_in_stages(study, runs):
    assert {run["steps"] for run in runs} == {400, 1600, 4800}
    assert all(len(run["val_loss"]) == len(run["loss"]) == study.STAGES for run in runs)
    examined = [run for run in runs if run["images"] == study.EXAMINED and run["steps"] == study.STEPS]
    assert examined
    for run in examined:
        counts = np.reshape(run["confusion"], (10, 10))
        assert counts.sum() == 10_000 and abs(np.trace(counts) / 10_000 - run["test_accuracy"]) < 1e-4
        assert len(run["shifted"]) == len(study.SHIFTS) and len(run["turned"]) == len(study.TURNS)


def test_the_mean_of_views_has_less_log_loss_than_its_views(runs):
    viewed = [run for run in runs if "views" in run]
    assert viewed and all(run["single_view_loss"] >= run["views"][-1][2] for run in viewed)


def test_mixup_stays_above_its_floor(runs):
    for run in runs:
        if run["augmentation"] == "mixup":
            alpha = run["strength"]
            # The partner is the image itself once in 64 times, and of the same digit in one case of ten.
            floor = 63 / 64 * 0.89 * (special.digamma(2 * alpha + 1) - special.digamma(alpha + 1))
            assert min(run["loss"]) > floor


def test_moved_tests_are_as_far_as_they_say(study):
    shifted, turned, labels = study.moved_tests()
    assert shifted.shape == (6, 5000, 28, 28, 1) and turned.shape == (8, 5000, 28, 28, 1) and labels.shape == (5000,)
    half = turned[study.TURNS.index(180)]
    assert np.abs(half[:50].astype(int) - load_split()[2][0][::2][:50, ::-1, ::-1].astype(int)).max() <= 1
