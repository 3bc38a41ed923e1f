"""JacobianProduct: the norms that Python and the page compute, and what a reader can do."""
import itertools
import re

import numpy as np
import pytest
import traitlets
from every_figure import test_axe_finds_nothing_serious, test_it_fits_a_narrow_phone  # noqa: F401 collected here

from imagebook.widgets import JacobianProduct
from imagebook.widgets.jacobian_product import ACTIVATIONS, WARM_UP

READY = ".jacobian-product .measured[points]"  # in the figure once it is drawn
STEPS, UNITS = 101, 16


@pytest.fixture(scope="module")
def parts():
    """Matrices of each kind, two draws of each, and noise."""
    rng = np.random.default_rng(0)
    gaussian = rng.normal(size=(2, UNITS, UNITS))
    triangular = np.triu(rng.normal(size=(2, UNITS, UNITS)), 1) + np.eye(UNITS)
    orthogonal = np.linalg.qr(gaussian)[0]
    return ({"gaussian": gaussian, "orthogonal": orthogonal, "triangular": triangular},
            rng.normal(size=(WARM_UP + STEPS, UNITS)))


@pytest.fixture
def figure(parts):
    return JacobianProduct(*parts)


# --- Python ---


def test_without_an_activation_the_product_is_a_power(figure):
    for name, radius in itertools.product(figure.names, (0.7, 1.2)):
        figure.choice = {"matrix": name, "radius": radius}
        matrix = radius * figure._matrices[name][0].astype(float)
        expected = [np.linalg.norm(np.linalg.matrix_power(matrix, k), 2) for k in range(0, STEPS, 20)]
        np.testing.assert_allclose(figure.norms()[::20], expected, rtol=1e-6)
    figure.choice = {"matrix": "orthogonal", "radius": 1.0}
    np.testing.assert_allclose(figure.norms(), 1, rtol=1e-5)


def test_the_norms_are_those_of_the_derivative_of_the_last_state(figure):
    """TensorFlow differentiates the last state by earlier ones."""
    import tensorflow as tf
    figure.choice = {"matrix": "gaussian", "draw": 1, "activation": "tanh", "radius": 1.1, "strength": 0.4}
    matrix, noise = 1.1 * figure._matrices["gaussian"][1].astype(float), figure._noise.astype(float)
    state, states = tf.zeros(UNITS, tf.float64), []
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(state)
        for drive in noise:
            state = tf.tanh(tf.linalg.matvec(matrix, state) + 0.4 * drive)
            states.append(state)
    for back in (1, 7, 30):
        jacobian = tape.jacobian(states[-1], states[-1 - back])
        np.testing.assert_allclose(figure.norms()[back], np.linalg.norm(jacobian.numpy(), 2), rtol=1e-6)


@pytest.mark.parametrize("change, words", [
    (lambda matrices, noise: ({}, noise), "at least one kind"),
    (lambda matrices, noise: ({**matrices, "odd": np.zeros((1, 3, 3))}, noise), "the same shape"),
    (lambda matrices, noise: (matrices, noise[:, :3]), "noise must have the shape"),
    (lambda matrices, noise: (matrices, noise[:40]), "more than 51"),
    (lambda matrices, noise: (matrices, noise * np.nan), "finite"),
    (lambda matrices, noise: ({"none": np.triu(matrices["gaussian"], 1)}, noise), "spectral radius 0"),
])
def test_what_cannot_be_shown_says_why(parts, change, words):
    with pytest.raises(ValueError, match=words):
        JacobianProduct(*change(*parts))


def test_choices_are_completed_and_checked(figure):
    assert figure.choice == {"matrix": "gaussian", "draw": 0, "activation": "identity", "radius": 1.0, "strength": 0.5}
    for choice, words in (({"matrix": "sparse"}, "not among gaussian"), ({"draw": 2}, "not among 0, 1"),
                          ({"radius": 3}, "between 0.5 and 1.5"), ({"seed": 1}, "no setting")):
        with pytest.raises(traitlets.TraitError, match=words):
            figure.choice = choice
    assert repr(figure) == "JacobianProduct(3 kinds of matrix, 2 draws, 16 units)"


# --- In a browser ---


def choose(page, choice, names):
    page.locator("select").nth(0).select_option(str(names.index(choice["matrix"])))
    page.locator("select").nth(1).select_option(str(ACTIVATIONS.index(choice["activation"])))
    page.locator("select").nth(2).select_option(index=choice["draw"])
    for number, name in enumerate(("radius", "strength")):
        page.get_by_role("slider").nth(number).fill(str(choice[name]))


def length(text):
    """Read a length as the figure writes it."""
    power = text.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return float(power.replace("·10", "e")) if text != "∞" else np.inf


def test_the_page_computes_what_python_computes(open_figure, figure):
    page = open_figure()
    rng = np.random.default_rng(2)
    for name, activation in itertools.product(figure.names, ACTIVATIONS):
        choice = {"matrix": name, "activation": activation, "draw": int(rng.integers(2)),
                  "radius": round(float(rng.uniform(0.6, 1.3)), 2), "strength": round(float(rng.uniform(0.1, 1.5)), 2)}
        choose(page, choice, figure.names)
        figure.choice = choice
        norms = figure.norms()
        said = re.search(r"After 50 steps back the gradient is at most (\S+) times", page.locator(".words").text_content())
        assert length(said[1]) == pytest.approx(norms[50], rel=0.06), choice
        points = page.locator(".chart .measured").get_attribute("points").split()
        logs = [(190 - float(point.split(",")[1])) / 166 * 16 - 8 for point in points]
        np.testing.assert_allclose(logs, np.log10(norms[: len(logs)]), atol=0.02)
        assert len(logs) == STEPS or abs(np.log10(norms[len(logs)])) > 8


def test_the_bound_and_the_radius_are_drawn(open_figure, figure):
    page = open_figure()
    choose(page, {"matrix": "orthogonal", "activation": "tanh", "draw": 0, "radius": 0.9, "strength": 1}, figure.names)
    assert "ρ = 0.90, largest singular value σ = 0.90" in page.locator(".result").text_content()
    ends = [page.locator(f".chart .{kind}").get_attribute("points").split()[-1] for kind in ("bound", "radius")]
    assert ends[0] == ends[1]  # the same line, for an orthogonal matrix
    assert (190 - float(ends[0].split(",")[1])) / 166 * 16 - 8 == pytest.approx(100 * np.log10(0.9), abs=0.02)
    assert page.locator(".plane .eigenvalue").count() == UNITS


def test_the_slider_is_moved_by_keys(open_figure):
    page = open_figure()
    slider = page.get_by_role("slider").first
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert "ρ = 0.99" in page.locator(".result").text_content()
    page.wait_for_function("document.querySelector('.jacobian-product .status').textContent.startsWith('ρ = 0.99')")
