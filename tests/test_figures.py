"""Grids of images: what is drawn, and what is refused."""
import matplotlib.pyplot as plt
import numpy as np
import pytest

from imagebook import show_images


@pytest.fixture(autouse=True)
def style():
    with plt.style.context("imagebook.book"):
        yield
    plt.close("all")


def test_one_axis_an_image_with_its_label():
    images = np.arange(5 * 4 * 3).reshape(5, 4, 3)
    figure = show_images(images, labels="abcde", columns=3)
    drawn = [axis for axis in figure.axes if axis.images]
    assert len(figure.axes) == 6 and len(drawn) == 5
    assert [axis.texts[0].get_text() for axis in drawn] == list("abcde")
    assert np.array_equal(drawn[4].images[0].get_array(), images[4])


def test_all_images_share_one_scale():
    figure = show_images(np.stack([np.zeros((2, 2)), np.full((2, 2), 7.0)]))
    assert {axis.images[0].get_clim() for axis in figure.axes} == {(0, 7)}
    figure = show_images(np.zeros((1, 2, 2, 1)), limits=(-1, 1))
    assert figure.axes[0].images[0].get_clim() == (-1, 1)


@pytest.mark.parametrize("images", [np.zeros((0, 2, 2)), np.zeros((2, 2)), np.zeros((1, 2, 2, 3))])
def test_wrong_shape_is_named(images):
    with pytest.raises(ValueError, match=r"\(n, height, width\)"):
        show_images(images)


def test_wrong_number_of_labels_is_named():
    with pytest.raises(ValueError, match="1 labels for 2 images"):
        show_images(np.zeros((2, 2, 2)), labels=["a"])


def luminance(color):
    """Return the relative luminance of a colour, 0 to 1, as WCAG 2 defines it."""
    channels = np.array(plt.matplotlib.colors.to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_palette_is_legible_and_survives_greyscale():
    cycle = plt.rcParams["axes.prop_cycle"].by_key()
    lights = [luminance(color) for color in cycle["color"]]
    assert min(1.05 / (light + 0.05) for light in lights) >= 3, "a colour is too pale on white"
    first_three = sorted(lights[:3])
    assert all(high - low > 0.08 for low, high in zip(first_three, first_three[1:])), "two look alike in greyscale"
    assert len(set(cycle["linestyle"][:4])) == 4, "line styles tell curves apart where colours cannot"
