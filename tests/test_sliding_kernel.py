"""SlidingKernel: what Python and the page compute, with Keras as the judge, and what a reader can do."""
import itertools
import re

import numpy as np
import pytest
import traitlets
from every_figure import test_axe_finds_nothing_serious  # noqa: F401 collected here

from imagebook import load_mnist
from imagebook.widgets import SlidingKernel
from imagebook.widgets.sliding_kernel import LIMITS

READY = ".sliding-kernel .window"  # in the figure once it is drawn
KERNELS = {
    "vertical": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "blur": np.full((3, 3), 1 / 9),
    "gabor": np.linspace(-1, 1, 25).reshape(5, 5),
    "oblong": [[1, -1], [2, 0.5], [0, 1]],
}


@pytest.fixture(scope="module")
def images():
    (x_train, y_train), _ = load_mnist()
    rng = np.random.default_rng(0)
    return {"seven": x_train[y_train == 7][0], "noise": rng.integers(0, 256, (9, 12), dtype=np.uint8),
            "small": np.array([[0, 255], [51, 102]], np.uint8)}


@pytest.fixture
def figure(images):
    return SlidingKernel(images, KERNELS, {"padding": 1}, place=[10, 14])


# --- Python ---


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_output_is_that_of_keras(images, kernel):
    from keras import ops
    figure = SlidingKernel(images, KERNELS, {"kernel": kernel})
    for name, stride, padding, dilation in itertools.product(["seven", "noise"], (1, 2, 3), (0, 1, 3), (1, 2)):
        if stride > 1 and dilation > 1:
            continue  # TensorFlow has no such convolution
        figure.choice = {"image": name, "stride": stride, "padding": padding, "dilation": dilation}
        image = np.pad(images[name] / 255, padding)[None, ..., None].astype("float32")
        weights = np.array(figure.kernel, "float32")[..., None, None]
        expected = ops.conv(image, weights, strides=stride, padding="valid", dilation_rate=dilation)[0, ..., 0]
        np.testing.assert_allclose(figure.output(), expected, atol=1e-5)


def test_a_kernel_that_does_not_fit_has_no_output(images):
    figure = SlidingKernel(images, KERNELS, {"image": "small", "kernel": "vertical"})
    assert figure.output().shape == (0, 0)
    figure.choice = {"padding": 1}
    assert figure.output().shape == (2, 2)


@pytest.mark.parametrize("images, kernels, words", [
    ({}, KERNELS, "at least one image"),
    ({"a": np.zeros((3, 3, 1), np.uint8)}, KERNELS, "image 'a' must have the shape"),
    ({"a": np.zeros((65, 3), np.uint8)}, KERNELS, "at most 64"),
    ({"a": np.zeros((3, 3))}, KERNELS, "type uint8"),
    ({"a": np.zeros((3, 3), np.uint8)}, {"k": np.zeros((7, 7))}, "at most 5"),
    ({"a": np.zeros((3, 3), np.uint8)}, {"k": [[1, 2], [3]]}, "rows of equal length"),
    ({"a": np.zeros((3, 3), np.uint8)}, {"k": [[np.nan]]}, "finite"),
])
def test_what_cannot_be_shown_says_why(images, kernels, words):
    with pytest.raises(ValueError, match=words):
        SlidingKernel(images, kernels)


def test_choices_are_completed_and_checked(figure):
    assert figure.choice == {"image": "seven", "stride": 1, "padding": 1, "dilation": 1}
    for choice, words in (({"image": "eight"}, "not among seven"), ({"stride": 9}, "from 1 to 4"), ({"depth": 1}, "no setting")):
        with pytest.raises(traitlets.TraitError, match=words):
            figure.choice = choice
    with pytest.raises(traitlets.TraitError, match="rows of equal length"):
        figure.kernel = [["a", 1]]
    with pytest.raises(ValueError, match="kernel 'edge' is not among"):
        SlidingKernel({"a": np.zeros((3, 3), np.uint8)}, KERNELS, {"kernel": "edge"})
    assert repr(figure) == "SlidingKernel(3 images, 4 kernels)"


# --- In a browser ---


def number(text):
    return float(text.replace("−", "-"))


def total(page):
    """Return row, column and value of the output under the window."""
    text = page.locator(".sliding-kernel .total").text_content()
    row, column, value = re.match(r"Y(\d+),(\d+) = (−?[\d.]+)", text.replace("row", " ")).groups()
    return int(row), int(column), number(value)


def pick(page, words, value):
    page.locator("select").nth(["image", "kernel", "kernel size"].index(words)).select_option(str(value))


def slide(page, name, value):
    slider = page.get_by_role("slider", name=re.compile(name))
    slider.focus()
    page.keyboard.press("Home")
    for _ in range(value - LIMITS[name][0]):
        page.keyboard.press("ArrowRight")


def caption(page, panel):
    return page.locator(".sliding-kernel figcaption").nth(panel).text_content()


def test_the_page_computes_what_python_computes(open_figure, images):
    page, figure = open_figure(), SlidingKernel(images, KERNELS)
    rng = np.random.default_rng(1)
    for image, kernel in itertools.product(range(2), range(len(KERNELS))):
        stride, padding, dilation = (int(rng.integers(low, high + 1)) for low, high in LIMITS.values())
        dilation = min(dilation, 2)
        pick(page, "image", image)
        pick(page, "kernel", kernel)
        for name, value in (("stride", stride), ("padding", padding), ("dilation", dilation)):
            slide(page, name, value)
        figure.choice = {"image": list(images)[image], "stride": stride, "padding": padding, "dilation": dilation}
        figure.kernel = np.array(list(KERNELS.values())[kernel]).tolist()
        output = figure.output()
        said = caption(page, 1)
        if not output.size:
            assert "output 0 × 0" in said
            continue
        assert f"output {output.shape[0]} × {output.shape[1]}" in said
        low, high = re.search(r"from (\S+) \(\w+\) to (\S+) \(", said).groups()
        assert abs(number(low) - min(output.min(), 0)) < 0.0051 and abs(number(high) - max(output.max(), 0)) < 0.0051
        row, column, value = total(page)
        assert abs(value - output[row, column]) < 0.0051
        products = [number(text) for text in page.locator(".products b").all_text_contents()]
        assert abs(sum(products) - output[row, column]) < 0.0051 * len(products)
        values = page.evaluate("""() => { const canvas = document.querySelectorAll('.sliding-kernel canvas')[1];
            return [canvas.height, canvas.width]; }""")
        assert tuple(values) == output.shape


def test_the_window_moves_by_key_and_by_click(open_figure, figure):
    page, output = open_figure(), figure.output()
    assert total(page)[:2] == (10, 14)
    page.locator(".frame").nth(1).focus()
    for key in ("ArrowLeft", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    row, column, value = total(page)
    assert (row, column) == (12, 13) and abs(value - output[12, 13]) < 0.0051
    page.wait_for_function("document.querySelector('.sliding-kernel .status').textContent.includes('Row 12, column 13')")
    for panel in (0, 1):  # the padded input has 30 pixels, and on it the window's centre is meant
        box = page.locator(".frame").nth(panel).bounding_box()
        page.mouse.click(box["x"] + box["width"] * 8.5 / 30, box["y"] + box["height"] * 5.5 / 30)
        assert total(page)[:2] == ((4, 7) if panel == 0 else (5, 8))


def test_the_reader_writes_a_kernel(open_figure, images):
    page = open_figure()
    entry = page.get_by_label("weight in row 2, column 3")
    entry.fill("-0,5")
    assert page.locator("select").nth(1).input_value() == "own"
    figure = SlidingKernel(images, KERNELS, {"padding": 1}, kernel=[[-1, 0, 1], [-2, 0, -0.5], [-1, 0, 1]])
    assert abs(total(page)[2] - figure.output()[10, 14]) < 0.0051
    entry.fill("much")
    assert entry.get_attribute("aria-invalid") and abs(total(page)[2] - figure.output()[10, 14]) < 0.0051
    entry.blur()
    assert entry.input_value() == "-0.5" and not entry.get_attribute("aria-invalid")
    pick(page, "kernel size", 5)
    figure.kernel = np.pad(figure.kernel, 1).tolist()
    assert caption(page, 1).startswith("output 26 × 26") and page.locator(".products input").count() == 25
    assert abs(total(page)[2] - figure.output()[10, 14]) < 0.0051
    pick(page, "kernel size", 3)
    pick(page, "kernel", 0)
    assert entry.input_value() == "2"


def test_the_window_slides_from_first_to_last(open_figure, figure):
    page = open_figure()
    page.clock.install()
    pick(page, "image", 1)
    slide(page, "stride", 4)
    slide(page, "padding", 0)
    pick(page, "kernel", 1)
    page.locator(".frame").nth(1).focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
    assert total(page)[:2] == (1, 2)  # 9 × 12 pixels, a kernel of three, four at a time
    button = page.get_by_role("button")
    button.click()
    assert button.text_content() == "Stop" and total(page)[:2] == (0, 0)
    page.clock.run_for(60 * 3 + 10)
    assert total(page)[:2] == (1, 0)
    page.clock.run_for(60 * 9)
    assert total(page)[:2] == (1, 2) and button.text_content() == "Slide"


def test_it_says_what_is_cut_off_and_what_does_not_fit(open_figure):
    page = open_figure()
    facts = page.locator(".sliding-kernel .facts")
    assert "⌊(28 + 2·1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 28" in facts.text_content()
    assert "784 outputs × 9 weights = 7,056" in facts.text_content() and "14 %" in facts.text_content()  # 108 of 784
    slide(page, "stride", 2)
    assert "rows below, 1; columns on the right, 1" in facts.text_content()
    pick(page, "image", 2)
    slide(page, "padding", 0)
    assert "it fits nowhere" in facts.text_content() and "output 0 × 0" in caption(page, 1)
    page.get_by_role("button").click()  # nothing to slide
    slide(page, "padding", 4)
    assert "output 4 × 4" in caption(page, 1)


def test_it_fits_a_narrow_phone(open_figure):
    page = open_figure(width=360)
    pick(page, "kernel", 2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    sizes = page.locator(".sliding-kernel :is(button, select, input)").evaluate_all(
        "(all) => all.map((each) => each.getBoundingClientRect().height)")
    assert min(sizes) >= 24


def test_a_move_is_answered_within_a_frame(open_figure):
    page = open_figure()
    pick(page, "kernel", 2)
    times = page.evaluate("""async () => { const slider = document.querySelector('.sliding-kernel input[type=range]'), times = [];
        for (let i = 0; i < 20; i++) { slider.value = 1 + i % 2; const start = performance.now();
          slider.dispatchEvent(new Event('input')); times.push(performance.now() - start); }
        return times.sort((a, b) => a - b); }""")
    assert times[0] <= 16
