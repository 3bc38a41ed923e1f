"""DigitWriter: the generator in Python and in the page, with Keras as the judge, and what a reader can do."""

import numpy as np
import pytest
import traitlets
from every_figure import test_axe_finds_nothing_serious, test_it_fits_a_narrow_phone  # noqa: F401 collected here

from imagebook.widgets import DigitWriter
from imagebook.widgets.digit_writer import transposed_convolution

READY = ".digit-writer .digits button[aria-pressed=true]"  # in the figure once it is drawn
LATENT, DEEP, MIDDLE = 8, 12, 6


@pytest.fixture(scope="module")
def network():
    """Two models with weights drawn at random, of the form that the experiment writes."""
    rng = np.random.default_rng(0)
    arrays = {"names": np.array(["GAN", "VAE"]), "latent": LATENT, "slope": 0.2}
    for name in arrays["names"]:
        shapes = {"dense_kernel": (LATENT + 10, 49 * DEEP), "dense_bias": (49 * DEEP,), "up1_kernel": (4, 4, MIDDLE, DEEP),
                  "up1_bias": (MIDDLE,), "up2_kernel": (4, 4, 1, MIDDLE), "up2_bias": (1,)}
        arrays |= {f"{name}_{array}": (0.4 * rng.normal(size=shape)).astype(np.float16) for array, shape in shapes.items()}
    return arrays


@pytest.fixture
def figure(network):
    return DigitWriter(network)


# --- Python ---


def test_the_transposed_convolution_is_that_of_keras():
    from keras import layers
    rng = np.random.default_rng(1)
    layer = layers.Conv2DTranspose(6, 4, strides=2, padding="same", use_bias=False)
    x = rng.normal(size=(7, 7, 12)).astype("float32")
    expected = layer(x[None])[0]
    np.testing.assert_allclose(transposed_convolution(x, layer.kernel.numpy()), expected, atol=1e-5)


def test_every_place_is_as_typical_as_a_draw(network):
    """The three vectors are combined with squares that sum to one, so the variance of z stays 1."""
    figure, values = DigitWriter(network), []
    for draw in range(12):
        for place in ([0, 0], [77, 30], [-120, -60], [10, 90]):
            figure.choice = {"draw": draw, "place": place}
            values.append(figure.latent_vector())
    assert abs(np.mean(np.square(values)) - 1) < 0.15
    assert figure.image().shape == (28, 28) and 0 <= figure.image().min() <= figure.image().max() <= 1


@pytest.mark.parametrize("change, words", [
    ({"names": None}, "lacks names"), ({"GAN_up1_bias": None}, "lacks GAN_up1_bias: make it with experiments/dcgan.py"),
    ({"VAE_up2_kernel": np.zeros((3, 3, 1, MIDDLE))}, "VAE_up2_kernel must have the shape"),
    ({"GAN_dense_kernel": np.zeros((LATENT, 49 * DEEP))}, "GAN_dense_kernel must have the shape"),
])
def test_a_network_that_does_not_fit_says_why(network, change, words):
    changed = {name: value for name, value in {**network, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=words):
        DigitWriter(changed)


def test_choices_are_completed_and_checked(figure):
    assert figure.choice == {"model": "GAN", "digit": 7, "draw": 0, "place": [0, 0]}
    for choice, words in (({"model": "VQ"}, "not among GAN, VAE"), ({"digit": 10}, "not among 0"),
                          ({"place": [200, 0]}, "longitude from"), ({"seed": 1}, "no setting")):
        with pytest.raises(traitlets.TraitError, match=words):
            figure.choice = choice
    assert repr(figure) == "DigitWriter(GAN, VAE: 8 latent numbers)"


# --- In a browser ---


def pixels(page, selector):
    """Return what a canvas shows, brightness from 0 to 1."""
    values = page.locator(selector).first.evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]")
    size = page.locator(selector).first.evaluate("(canvas) => [canvas.height, canvas.width]")
    return np.reshape(values, (*size, 4))[..., 0] / 255


def test_the_page_writes_what_python_writes(open_figure, network):
    page, figure = open_figure(), DigitWriter(network)
    page.locator("select").select_option(index=1)
    page.locator(".digits button").nth(3).click()
    page.get_by_role("button", name="Other handwriting").click()
    plane = page.locator(".plane")
    plane.focus()
    for key in ["ArrowRight"] * 7 + ["ArrowUp"] * 4 + ["ArrowDown"]:
        page.keyboard.press(key)
    figure.choice = {"model": "VAE", "digit": 3, "draw": 1, "place": [35, 15]}
    np.testing.assert_allclose(pixels(page, ".large canvas"), figure.image(), atol=0.01)
    for digit in (0, 9):
        shown = pixels(page, f".digits button:nth-child({digit + 1}) canvas")
        np.testing.assert_allclose(shown, figure.image(digit), atol=0.01)
    assert page.locator(".large figcaption").text_content() == "longitude 35°, latitude 15°"
    tiles = pixels(page, ".plane canvas")
    figure.choice = {"place": [0, 0]}  # the tile in the middle
    np.testing.assert_allclose(tiles[56:84, 112:140], figure.image(), atol=0.01)


def test_the_walk_goes_round_and_stops_at_the_poles(open_figure):
    page = open_figure()
    box = page.locator(".plane").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 1, box["y"] + box["height"] / 4)
    caption = page.locator(".large figcaption")
    assert caption.text_content() in [f"longitude {a}°, latitude {b}°" for a in (179, 180) for b in (44, 45, 46)]
    page.locator(".plane").focus()
    page.keyboard.press("ArrowRight")
    assert caption.text_content().startswith("longitude −17")
    for _ in range(12):
        page.keyboard.press("ArrowUp")
    assert caption.text_content().endswith("latitude 90°")
    page.wait_for_function("document.querySelector('.digit-writer .status').textContent.startsWith('A 7, written at')")
