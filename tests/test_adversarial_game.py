"""AdversarialGame: the record, what the page shows of it, and what a reader can do."""
import itertools
import re

import numpy as np
import pytest
import traitlets
from every_figure import test_axe_finds_nothing_serious, test_it_fits_a_narrow_phone  # noqa: F401 collected here

from imagebook.widgets import AdversarialGame

READY = ".adversarial-game .chart .generated"  # in the figure once it is drawn
STEPS, POINTS, SAMPLES = [0, 10, 50, 200, 1000], 81, 24


@pytest.fixture(scope="module")
def record():
    """Bumps that wander, and forces, of the form that the experiment writes."""
    rng = np.random.default_rng(0)
    x = np.linspace(-4, 4, POINTS)
    bump = lambda mean: np.exp(-((x - np.asarray(mean)[..., None]) ** 2) / 2) / np.sqrt(2 * np.pi)
    means = rng.normal(size=(3, 2, len(STEPS)))
    samples = means[..., None] + rng.normal(size=(*means.shape, SAMPLES))
    return {"runs": np.array(["saturating", "non-saturating", "Wasserstein"]), "data": np.array(["one bump", "two bumps"]),
            "critic": np.array(["Wasserstein"]), "steps": np.array(STEPS), "x": x, "p_data": np.stack([bump(0), bump(1)]),
            "p_generated": bump(means), "discriminator": 1 / (1 + np.exp(means[..., None] * x)), "samples": samples,
            "gradients": 0.3 * rng.normal(size=samples.shape), "distance": np.abs(means)}


@pytest.fixture
def figure(record):
    return AdversarialGame(record)


# --- Python ---


@pytest.mark.parametrize("change, words", [
    ({"samples": np.zeros((3, 2, 4, 24))}, "samples must have the shape"),
    ({"p_data": np.full((2, POINTS), np.nan)}, "p_data must hold finite"),
    ({"steps": [0, 10, 5, 200, 1000]}, "must rise"),
    ({"distance": None}, "lacks distance: make it with experiments/gan.py"),
])
def test_a_record_that_does_not_fit_says_why(record, change, words):
    changed = {name: value for name, value in {**record, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=words):
        AdversarialGame(changed)


def test_choices_are_completed_and_checked(figure):
    assert figure.choice == {"run": "saturating", "data": "one bump", "step": 0}
    for choice, words in (({"run": "LSGAN"}, "was not recorded"), ({"step": 3}, "was not recorded"), ({"seed": 1}, "no factor")):
        with pytest.raises(traitlets.TraitError, match=words):
            figure.choice = choice
    assert repr(figure) == "AdversarialGame(3 runs on 2 densities, 5 steps of each)"


# --- In a browser ---


def number(text):
    return float(text.replace("−", "-"))


def test_the_page_shows_what_was_recorded(open_figure, record):
    page = open_figure()
    for run, data, frame in itertools.product(range(3), range(2), (0, 3)):
        page.locator("select").nth(0).select_option(index=run)
        page.locator("select").nth(1).select_option(index=data)
        page.get_by_role("slider").fill(str(frame))
        said = page.locator(".words").text_content()
        step, distance, force = re.match(r"Step ([\d,]+): distance (\S+)\. The largest force on a sample is (\S+)\.", said).groups()
        assert int(step.replace(",", "")) == STEPS[frame]
        assert abs(number(distance) - record["distance"][run, data, frame]) < 0.002
        assert abs(number(force) - np.abs(record["gradients"][run, data, frame]).max()) < 0.002
        judged = np.interp(record["samples"][run, data, frame], record["x"], record["discriminator"][run, data, frame])
        low, high = re.search(r"from (\S+) to ([−\d.]*\d)", said.split("sample is")[1]).groups()
        assert abs(number(low) - judged.min()) < 0.01 and abs(number(high) - judged.max()) < 0.01
        assert ("The critic scores" in said) == (run == 2)
        peak = min(page.locator(".chart polyline.generated").get_attribute("points").split(),
                   key=lambda point: float(point.split(",")[1]))
        width = page.locator(".chart").evaluate("(chart) => chart.clientWidth")
        x = (float(peak.split(",")[0]) - 34) / (width - 68) * 8 - 4
        assert abs(x - record["x"][record["p_generated"][run, data, frame].argmax()]) < 0.11


def test_forces_point_where_samples_are_pushed(open_figure, record):
    page = open_figure()
    paths = page.locator(".chart .force").evaluate_all("(all) => all.map((each) => each.getAttribute('d'))")
    for path, force in zip(paths, record["gradients"][0, 0, 0]):
        start, end = re.match(r"M([\d.]+) [\d.]+H([-\d.]+)", path).groups()
        assert np.sign(round(float(end) - float(start))) in (0, np.sign(force))


def test_play_goes_from_the_first_step_to_the_last_and_stops(open_figure):
    page = open_figure()
    page.clock.install()
    button, slider = page.get_by_role("button"), page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == "1,000"
    button.click()
    page.clock.run_for(250 * 2 + 20)
    assert slider.get_attribute("aria-valuetext") == "50" and button.text_content() == "Stop"
    page.clock.run_for(250 * 6)
    assert slider.get_attribute("aria-valuetext") == "1,000" and button.text_content() == "Play"
