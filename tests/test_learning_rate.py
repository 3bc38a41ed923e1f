"""The study of chapter `learning-rate`: its record is whole, and its schedules are what the chapter says of them."""
import numpy as np
import pytest


@pytest.fixture(scope="module")
def script(load_study):
    return load_study("learning_rate")


def test_curves_have_one_number_an_epoch(script):
    assert len(script.STUDY.read()) == 8 * 10 * 2 * 2 * 5
    for run in script.STUDY.read():
        assert all(len(run[name]) == run["epochs"] for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
        assert 0 <= run["test_accuracy"] <= 1


def test_every_schedule_has_its_peak_and_no_more(script):
    for name in script.SCHEDULES:
        rates = script.rates(name, 0.3, 768)
        assert rates.shape == (768,) and (rates > 0).all()
        assert rates.max() == pytest.approx(0.3, rel=1e-3), name


def test_only_the_two_that_do_not_fall_end_high(script):
    ends = {name: script.rates(name, 1.0, 768)[-1] for name in script.SCHEDULES}
    assert {name for name, end in ends.items() if end > 0.02} == {"fixed", "warm-up"}


def test_a_longer_training_stretches_the_schedule(script):
    for name in script.SCHEDULES:
        short, long = script.rates(name, 1.0, 192), script.rates(name, 1.0, 768)
        # The ramp of a warm-up counts the step that is about to be done; that is one step in 77.
        np.testing.assert_allclose(long[::4], short, atol=0.05)


def test_falling_schedules_never_rise_after_their_peak(script):
    for name in script.SCHEDULES:
        rates = script.rates(name, 1.0, 768)
        assert (np.diff(rates[rates.argmax():]) <= 1e-12).all(), name


def test_the_library_has_the_same_shapes(script):
    schedules = pytest.importorskip("keras").optimizers.schedules
    cosine, line = schedules.CosineDecay(0.1, 192), schedules.PolynomialDecay(0.1, 192, 0.0)
    for name, schedule in (("cosine", cosine), ("linear", line)):
        theirs = [float(schedule(step)) for step in range(0, 192, 16)]
        np.testing.assert_allclose(script.rates(name, 0.1, 192)[::16], theirs, atol=1e-6)
