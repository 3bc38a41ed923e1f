"""Augmenter: what Python and the page compute, with Keras as the judge, and what a reader can do."""
import re
from pathlib import Path

import numpy as np
import pytest
import traitlets
from axe_playwright_python.sync_playwright import Axe

from imagebook.widgets import Augmenter
from imagebook.widgets.augmenter import REST, SLIDERS, augment, classify, waves, window

READY = ".augmenter .top"  # in the figure once it is drawn
FILE = Path(__file__).parent.parent / "experiments" / "augmenter.npz"


@pytest.fixture(scope="module")
def record():
    with np.load(FILE) as file:
        return dict(file)


@pytest.fixture(scope="module")
def networks(record):
    return {str(name): [record[f"{name}_{n}"] for n in range(6)] for name in record["names"]}


@pytest.fixture
def figure(record, networks):
    return Augmenter(record["images"], record["labels"], networks)


# --- Python ---


def test_the_networks_answer_as_keras_does(record, networks):
    from imagebook.studies import small_network
    model = small_network()
    for arrays in networks.values():
        model.set_weights(arrays)
        logits = model.predict(record["images"][..., None], verbose=0)
        for image, row in zip(record["images"], logits):
            expected = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
            np.testing.assert_allclose(classify(arrays, image / 255), expected, atol=1e-4)


@pytest.mark.parametrize("name, value", [("turn", 30), ("turn", -115), ("right", 5), ("down", -3), ("zoom", 0.75), ("shear", 20)])
def test_the_geometry_is_that_of_keras(record, name, value):
    from keras import ops
    # The matrix that takes a pixel of the result to the original, about the middle of the image.
    angle, lean = np.deg2rad(value if name == "turn" else 0), np.tan(np.deg2rad(value if name == "shear" else 0))
    zoom = value if name == "zoom" else 1
    matrix = np.array([[1, lean], [0, 1]]) @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    moved = np.array([value if name == "right" else 0, value if name == "down" else 0])
    offset = np.array([13.5, 13.5]) - matrix @ (np.array([13.5, 13.5]) + moved)
    image = record["images"][2] / 255
    expected = ops.image.affine_transform(
        image[..., None].astype("float32"), np.array([*matrix[0], offset[0], *matrix[1], offset[1], 0, 0], "float32"))
    np.testing.assert_allclose(augment(image, image, {**REST, name: value}), expected[..., 0], atol=1e-4)


def test_the_turn_goes_against_the_clock_and_flips_mirror(record):
    image = record["images"][7] / 255
    assert np.allclose(augment(image, image, {**REST, "turn": 90}), np.rot90(image), atol=1e-9)
    assert np.allclose(augment(image, image, {**REST, "mirror": True}), image[:, ::-1])
    assert np.allclose(augment(image, image, {**REST, "tumble": True}), image[::-1])
    assert np.allclose(augment(image, image, {**REST, "mirror": True, "tumble": True, "turn": 180}), image, atol=1e-9)


def test_a_warp_is_as_strong_as_it_says_and_differs_by_seed():
    size = [np.mean(np.square(waves(seed))) for seed in range(200)]
    assert 0.9 < np.mean(size) < 1.1
    assert not np.allclose(waves(0), waves(1))


def test_the_label_follows_the_mixture(figure):
    figure.settings = {"mixture": "mixup", "share": 0.75, "image": 2, "partner": 5}
    assert figure.target()[2] == 0.75 and figure.target()[5] == 0.25
    figure.settings = {"mixture": "cutmix"}
    assert abs(figure.target()[5] - 0.25) < 0.01 and abs(figure.target().sum() - 1) < 1e-12
    assert np.mean(window(0.75)) == 0.25 and np.mean(window(1)) == 0
    figure.settings = {"mixture": "cutout"}
    assert figure.target()[2] == 1
    figure.settings = {"mixture": "mixup", "partner": 2}
    assert figure.target()[2] == 1
    assert set(figure.probabilities()) == {"plain", "moderate", "any"} and repr(figure) == "Augmenter(12 images, 3 networks)"


def test_what_cannot_be_shown_says_why(record, networks, figure):
    images, labels = record["images"], record["labels"]
    for arguments, words in (
        ((images / 255, labels, networks), "uint8"), ((images[:, 1:], labels, networks), "shape"),
        ((images, labels[1:], networks), "12 digits"), ((images, labels, {}), "one to three"),
        ((images, labels, {"a": networks["plain"][::-1]}), "network 'a' must have arrays"),
    ):
        with pytest.raises(ValueError, match=words):
            Augmenter(*arguments)
    for settings, words in (
        ({"turn": 181}, "from -180 to 180"), ({"image": 12}, "from 0 to 11"), ({"mixture": "cut"}, "one of none"),
        ({"mirror": "yes"}, "True or False"), ({"seed": -1}, "not negative"), ({"tilt": 3}, "no setting"),
    ):
        with pytest.raises(traitlets.TraitError, match=words):
            figure.settings = settings
    assert figure.settings == REST


def test_the_recorded_networks_are_worth_showing(record):
    for name in record["names"]:
        validation, test = record[f"{name}_accuracy"]
        assert abs(validation - test) < 0.015 and test > 0.9
    assert record["any_accuracy"][1] < record["plain_accuracy"][1]
    assert record["images"].shape == (12, 28, 28) and list(record["labels"]) == [*range(10), 6, 9]


# --- In a browser ---


def read(page):
    """Return what the page shows: the answers' percentages, networks × digits, and the label in training."""
    rows = page.locator(".augmenter tbody tr").all()
    parts = [[float(text.rstrip(" %")) for text in row.locator("td > span").all_text_contents()] for row in rows]
    return np.array(parts).T, page.locator(".augmenter .label b").text_content()


def slide(page, name, value):
    slider = page.get_by_role("slider", name=name)
    slider.fill(str(value))


def agree(page, figure):
    page.wait_for_timeout(60)  # the figure draws with the next frame
    shown, _ = read(page)
    np.testing.assert_allclose(shown, 100 * np.array(list(figure.probabilities().values())), atol=0.55)


def test_the_page_computes_what_python_computes(open_figure, figure):
    page = open_figure()
    agree(page, figure)
    names = {"turn": "turn", "right": "to the right", "down": "down", "zoom": "zoom", "shear": "shear", "warp": "warp"}
    rng = np.random.default_rng(0)
    for image in (1, 4, 6, 9):
        page.get_by_role("radio", name=re.compile(f"^image {image + 1},")).first.check(force=True)
        figure.settings = {"image": image}
        for name, words in names.items():
            low, high, step = SLIDERS[name]
            value = low + step * int(rng.integers(0, round((high - low) / step) + 1)) / (1 if name in ("zoom", "warp") else 4)
            value = round(value / step) * step
            slide(page, words, value)
            figure.settings = {name: float(value)}
        agree(page, figure)
        page.get_by_role("button", name="Another warp").click()
        figure.settings = {"seed": figure.settings["seed"] + 1, "warp": figure.settings["warp"] or 2}
        agree(page, figure)
    page.get_by_label("flip left–right").check()
    figure.settings = {"mirror": True}
    agree(page, figure)
    page.get_by_role("button", name="Back to the start").click()
    figure.settings = {**REST, "image": 9}
    agree(page, figure)


def test_the_reader_mixes(open_figure, figure):
    page = open_figure()
    assert not page.get_by_role("slider", name="share of the first").is_visible()
    for mixture, label in (("mixup", "0: 40 %, 3: 60 %"), ("cutmix", None), ("cutout", "0: 100 %")):
        page.get_by_label("mix with").select_option(mixture)
        page.wait_for_timeout(60)
        slide(page, "share of the first", 0.4)
        if mixture != "cutout":
            page.get_by_role("group", name="Second digit").get_by_role("radio").nth(3).check(force=True)
        figure.settings = {"mixture": mixture, "share": 0.4, "partner": 3}
        agree(page, figure)
        assert label is None or read(page)[1] == label


def test_the_curve_follows_the_slider_that_was_moved(open_figure):
    page = open_figure()
    curve = page.locator(".augmenter .curve")
    assert "Probability of 0 along “turn”" in curve.text_content()
    slide(page, "to the right", 4)
    page.wait_for_function("document.querySelector('.augmenter .curve figcaption').textContent.includes('to the right')")
    assert curve.locator("path").count() == 3
    assert re.search(r"plain: from [\d.]+ to [\d.]+ percent", curve.locator("svg").get_attribute("aria-label"))


def test_the_keyboard_suffices_and_the_answer_is_heard(open_figure):
    page = open_figure()
    page.get_by_role("slider", name="turn").focus()
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('.augmenter [role=status]').textContent.includes('plain reads')")
    assert page.get_by_role("slider", name="turn").input_value() == "180"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
def test_everybody_can_use_it(open_figure, theme, width):
    page = open_figure(theme=theme, width=width)
    page.get_by_label("mix with").select_option("mixup")
    page.wait_for_timeout(60)
    results = Axe().run(page)
    assert not results.response["violations"], results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
