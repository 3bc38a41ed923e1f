"""QuadraticDescent: what Python, Keras and the page compute, and what a reader can do."""
import itertools
import re

import numpy as np
import pytest
import traitlets
from every_figure import test_axe_finds_nothing_serious, test_it_fits_a_narrow_phone  # noqa: F401 collected here

from imagebook.widgets import QuadraticDescent
from imagebook.widgets.quadratic_descent import CONDITIONS, METHODS

READY = ".quadratic-descent .chart .steep[points]"  # in the figure once it is drawn
CHOICES = [dict(zip(("method", "condition", "learning_rate", "momentum"), values)) for values in itertools.product(
    METHODS, (1, 20, 100), (0.0, 0.3, 1.0, 1.7, 3.0), (0.0, 0.5, 0.9))]


@pytest.fixture
def figure():
    return QuadraticDescent()


# --- Python ---


def test_the_steps_are_those_of_keras(figure):
    import keras
    import tensorflow as tf
    for choice in CHOICES[::4]:
        figure.choice = choice
        place = keras.Variable([figure.choice["x"], figure.choice["y"]])
        optimizer = keras.optimizers.SGD(choice["learning_rate"], choice["momentum"], choice["method"] == "Nesterov")
        places = [place.numpy()]
        for _ in range(20):
            optimizer.apply([tf.constant(figure.curvatures, "float32") * place], [place])
            places.append(place.numpy())
        expected = figure.path()[:21]
        np.testing.assert_allclose(places, expected, atol=1e-4 * max(1, np.abs(expected).max()))


def test_the_factor_is_what_the_distance_shrinks_by(figure):
    """Against the eigenvalues of the matrix that leads from two places to the next two."""
    for choice in CHOICES:
        figure.choice = choice
        for curvature, factor in zip(figure.curvatures, figure.factors()):
            shrink, momentum = 1 - choice["learning_rate"] * curvature, choice["momentum"]
            look = shrink if choice["method"] == "Nesterov" else 1
            matrix = [[shrink + momentum * look, -momentum * look], [1, 0]]
            assert factor == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), abs=1e-7)


def test_the_path_shrinks_as_the_factor_says(figure):
    figure.choice = {"learning_rate": 1.5, "momentum": 0.0, "condition": 10}
    path, factors = figure.path(), figure.factors()
    np.testing.assert_allclose(np.abs(path[40]), np.abs(path[0]) * factors**40)


def test_choices_are_completed_and_checked(figure):
    assert figure.choice["condition"] == 20 and QuadraticDescent({"momentum": 0.9}).choice["momentum"] == 0.9
    for choice, words in (({"method": "Adam"}, "not among heavy ball"), ({"condition": 3}, "not among 1, 2"),
                          ({"learning_rate": 5}, "between 0.0 and 4.0"), ({"speed": 1}, "no setting")):
        with pytest.raises(traitlets.TraitError, match=words):
            figure.choice = choice


# --- In a browser ---


def choose(page, choice):
    page.locator("select").nth(0).select_option(index=METHODS.index(choice["method"]))
    page.locator("select").nth(1).select_option(index=CONDITIONS.index(choice["condition"]))
    for number, name in enumerate(("learning_rate", "momentum")):
        page.get_by_role("slider").nth(number).fill(str(choice[name]))


def said(page):
    return page.locator(".words").text_content()


def test_the_page_computes_what_python_computes(open_figure, figure):
    page = open_figure()
    for choice in CHOICES[::3]:
        choose(page, choice)
        figure.choice = choice
        factors = [float(number) for number in re.findall(r"factor (\S+) a step", said(page))]
        np.testing.assert_allclose(factors, figure.factors(), atol=0.00051)
        for direction, kind in enumerate(("flat", "steep")):
            points = page.locator(f".chart .{kind}").get_attribute("points").split()
            logs = np.array([10 - (float(point.split(",")[1]) - 22) / 158 * 10 - 8 for point in points])
            expected = np.log10(np.abs(figure.path()[: len(logs), direction]) + 1e-300).clip(-8, 2)
            np.testing.assert_allclose(logs, expected, atol=0.01)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_no_setting_beats_the_best(open_figure, figure, method, condition):
    page = open_figure()
    choose(page, {"method": method, "condition": condition, "learning_rate": 1, "momentum": 0})
    page.get_by_role("button").click()
    best = max(float(number) for number in re.findall(r"factor (\S+) a step", said(page)))
    rates, momenta = np.linspace(0.01, 4, 60), np.linspace(0, 0.99, 50)
    for rate, momentum in itertools.product(rates, momenta):
        figure.choice = {"method": method, "condition": condition, "learning_rate": rate, "momentum": momentum}
        assert figure.factors().max() > best - 0.001
    root = 1 / np.sqrt(condition)
    expected = (1 - root) / (1 + root) if method == "heavy ball" else 1 - 2 / np.sqrt(3 * condition + 1)
    assert best == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("choice, words", [
    ({"learning_rate": 0.5}, "The flat direction creeps.*The steep direction creeps"),
    ({"learning_rate": 1.0}, "The steep direction is there in one step"),
    ({"learning_rate": 1.5}, "The steep direction changes sides"),
    ({"learning_rate": 2.01}, "The steep direction runs away.*no digit"),
    ({"learning_rate": 2.01, "momentum": 0.5}, "The steep direction rings"),
    ({"learning_rate": 0.25, "momentum": 0.25}, "The steep direction is critically damped"),
    ({"learning_rate": 0.0}, "The flat direction does not move"),
])
def test_the_motion_is_named(open_figure, choice, words):
    page = open_figure()
    choose(page, {"method": "heavy ball", "condition": 20, "momentum": 0.0, **choice})
    assert re.search(words, said(page))


def test_the_planes_are_moved_by_keys_and_dragged(open_figure):
    page = open_figure()
    page.locator(".plane").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    assert page.locator(".lists b").all_text_contents() == ["1.05", "0.01"]
    page.wait_for_function("document.querySelector('.quadratic-descent .status').textContent.startsWith('The flat')")
    box = page.locator(".plane").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.up()
    rate, momentum = (float(text) for text in page.locator(".lists b").all_text_contents())
    assert rate == pytest.approx(2, abs=0.03) and momentum == pytest.approx(0.5, abs=0.02)
    page.locator(".bowl").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(".bowl .start").get_attribute("cy") == "-0.65"
    box = page.locator(".bowl").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert abs(float(page.locator(".bowl .start").get_attribute("cx"))) < 0.03
