"""Chapter `edge`: its record is whole, its arithmetic is LiteRT's, its masks and limits are what it says they are."""
import json
from pathlib import Path

import numpy as np
import pytest

from imagebook.studies import load_split, read_record

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def study():
    """The study's script, found as its own siblings find it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "experiments"))
        import edge
        yield edge


@pytest.fixture(scope="module")
def deploy():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "experiments"))
        import edge_deploy
        yield edge_deploy


@pytest.fixture(scope="module")
def runs():
    return read_record(ROOT / "experiments" / "edge.jsonl")


@pytest.fixture(scope="module")
def deployed():
    return json.loads((ROOT / "experiments" / "edge_deploy.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def weights():
    with np.load(ROOT / "experiments" / "edge_deploy.npz") as file:
        return [file[f"small_{number}"] for number in range(6)]


def test_pruned_networks_keep_as_many_weights_as_they_should(runs):
    for run in runs:
        if run["method"] in ("cut", "cut, tuned", "gradual", "random", "fresh"):
            # With new first weights a unit may be dead from the start, and its bias stays the zero that it was.
            lost = 34 if run["method"] == "fresh" else 2
            assert -lost <= run["nonzero"] - (34 + 5352 * (1 - run["level"])) <= 2, run
        if run["method"] == "wide" and run["level"]:
            assert abs(run["nonzero"] - (34 + 5352 * (1 - run["level"]))) <= 30, run


def test_dense_networks_have_no_more_weights_than_pruned_ones_keep(study):
    for method, sizes in study.DENSE.items():
        for level, maps in sizes.items():
            network = study.network(maps, 2 if method == "narrow" else 5)
            assert network.count_params() <= 34 + 5352 * (1 - level) + 1, (method, level)


def test_rounded_weights_have_few_values_and_are_near(study):
    kernel = np.random.default_rng(0).normal(0, 1, (3, 3, 4, 8)).astype("float32")
    for bits in (8, 4, 3, 2):
        top = 2 ** (bits - 1) - 1
        largest, best = np.abs(kernel).max(axis=(0, 1, 2)) / top, study.best_steps(kernel, top)
        plain, fitted = study.rounded(kernel, top).numpy(), study.rounded(kernel, top, steps=best).numpy()
        for values, steps in ((plain, largest), (fitted, best)):
            codes = values / steps
            assert np.abs(codes - np.round(codes)).max() < 1e-3 and np.abs(codes).max() < top + 1e-3
        assert np.all(np.abs(plain - kernel) <= largest / 2 + 1e-6)
        assert np.sum((fitted - kernel) ** 2) <= np.sum((plain - kernel) ** 2) + 1e-6


def test_a_slimmed_network_is_the_network_without_its_weakest_maps(study, weights):
    maps = (4, 8)
    slim = study.network(maps, 2)
    slim.set_weights(study.slimmed(weights, maps))
    first = np.argsort(-np.abs(weights[0]).sum(axis=(0, 1, 2)))[4:]
    second = np.argsort(-np.abs(weights[2]).sum(axis=(0, 1, 2)))[8:]
    k1, b1, k2, b2, k3, b3 = (weight.copy() for weight in weights)
    k1[..., first], b1[first], k2[..., second], b2[second] = 0, 0, 0, 0
    whole = study.network(*study.SMALL)
    whole.set_weights([k1, b1, k2, b2, k3, b3])
    images = load_split()[1][0][:50]
    np.testing.assert_allclose(slim.predict(images, verbose=0), whole.predict(images, verbose=0), atol=1e-4)


def test_whole_numbers_are_those_of_the_reference_kernels(deploy, weights):
    model = deploy.edge.network(*deploy.edge.SMALL)
    model.set_weights(weights)
    (train, _), (images, labels), _ = load_split()
    content = deploy.convert(deploy.deployable(model), "int8", train[:100])
    runner = deploy.Runner(content, deploy.OpResolverType.BUILTIN_REF)
    ours, theirs = deploy.whole_numbers(content, images[:500], "reference"), runner.answers(images[:500])
    assert np.array_equal(ours, theirs)
    default = deploy.Runner(content).answers(images[:500]).astype(int)
    assert np.abs(deploy.whole_numbers(content, images[:500], "default") - default).max() <= 1
    assert np.mean(ours.argmax(axis=1) == labels[:500]) > 0.95


def test_rounding_once_and_twice_differ_by_a_unit_at_most(deploy):
    rng = np.random.default_rng(0)
    sums, factors = rng.integers(-(2**20), 2**20, (1000, 8)), rng.uniform(1e-4, 2e-3, 8)
    once, twice = (deploy.fixed_point(sums, factors, twice) for twice in (False, True))
    assert np.abs(once - np.floor(sums * factors + 0.5)).max() == 0
    assert 0 < np.sum(once != twice) < 200 and np.abs(once - twice).max() == 1


def test_the_record_says_that_the_arithmetic_was_reproduced(deployed):
    assert deployed["exactness"]["reference"]["different"] == 0
    assert deployed["exactness"]["default"]["largest"] <= 1
    assert deployed["browser"]["small_different_from_litert"] <= 50


def test_teachers_say_what_they_know(study):
    labels = study.pictures()[1]
    for name, least in (("teacher", 0.99), ("peer_384", 0.99), ("peer_1536", 0.99), ("peer_6144", 0.99)):
        said = study.said(name)
        assert said.max() <= 0 and np.mean(said.argmax(axis=1) == labels[:len(said)]) > least
    hot = study.soft(study.said("teacher")[:10], 1000.0)
    assert np.allclose(hot.sum(axis=1), 1, atol=1e-5) and hot.max() < 0.11


def test_no_image_of_the_validation_set_trains(study):
    images, _ = study.pictures()
    validation = {image.tobytes() for image in load_split()[1][0]}
    assert len(images) == 24576 and not validation & {image.tobytes() for image in images}
