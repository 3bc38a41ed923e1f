"""The records of the chapter on generative adversarial networks are whole and say what the chapter says of them."""
import json
from pathlib import Path

import numpy as np
import pytest

from imagebook.widgets import AdversarialGame

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@pytest.fixture(scope="module")
def frames():
    return np.load(EXPERIMENTS / "gan_frames.npz")


def test_the_frames_fit_the_living_figure(frames):
    assert (EXPERIMENTS / "gan_frames.npz").stat().st_size < 250_000
    assert "3 runs on 2 densities" in repr(AdversarialGame(frames))
    step = frames["x"][1] - frames["x"][0]
    assert np.allclose(frames["p_data"].sum(axis=1) * step, 1, atol=0.01)
    assert np.array_equal(frames["distance"], frames["spread"][..., 0])


def test_forces_are_slopes_of_the_discriminator(frames):
    """A critic pushes every sample along its own slope, whatever its height: dC/dx at the sample."""
    x, curve = frames["x"].astype(float), frames["discriminator"][2, 0, 5].astype(float)
    slope = np.interp(frames["samples"][2, 0, 5].astype(float), x, np.gradient(curve, x))
    assert np.allclose(frames["gradients"][2, 0, 5], slope, atol=0.06)


def test_what_stalls_stalls(frames):
    saturating, non_saturating, _ = frames["spread"][:, 0, -1].astype(float)
    assert saturating.min() > 3.4 and non_saturating.max() < 0.2 and frames["spread_adam"][-1].max() < 0.2


def test_every_method_was_played_at_both_paces():
    record = json.loads((EXPERIMENTS / "gan_ring.json").read_text(encoding="utf-8"))
    shape = (len(record["looks"]), record["seeds"])
    for run in record["runs"]:
        assert np.shape(run["modes"]) == np.shape(run["quality"]) == shape
        assert 0 <= np.min(run["modes"]) <= np.max(run["modes"]) <= 8
        assert 0 <= np.min(run["quality"]) <= np.max(run["quality"]) <= 1
    kinds = [(run["method"], run["pace"]) for run in record["runs"]]
    assert len(kinds) == len(set(kinds)) == 2 * len({method for method, _ in kinds}) >= 8
