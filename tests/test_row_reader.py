"""RowReader: what it takes, what the page shows of it, and what a reader can do."""
import re

import numpy as np
import pytest
import traitlets
from every_figure import test_axe_finds_nothing_serious, test_it_fits_a_narrow_phone  # noqa: F401 collected here

from imagebook import load_mnist
from imagebook.widgets import RowReader

READY = ".row-reader .now"  # in the figure once it is drawn
COUNT, ROWS, CLASSES = 12, 28, 10


@pytest.fixture(scope="module")
def record():
    """Digits of MNIST with beliefs that wander from uniform to a class drawn at random."""
    (x_train, y_train), _ = load_mnist()
    rng = np.random.default_rng(0)
    logits = np.cumsum(rng.normal(size=(2, COUNT, ROWS, CLASSES)), axis=2)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return {"images": x_train[:COUNT], "labels": y_train[:COUNT], "names": ["LSTM", "GRU"],
            "probabilities": exponentials / exponentials.sum(axis=-1, keepdims=True)}


@pytest.fixture
def figure(record):
    return RowReader(record)


# --- Python ---


def test_beliefs_are_those_of_the_record(figure, record):
    figure.choice = {"image": 3, "network": "GRU"}
    np.testing.assert_allclose(figure.beliefs(), record["probabilities"][1, 3], atol=0.5 / 255 + 1e-9)
    packed = RowReader({**record, "probabilities": np.round(255 * record["probabilities"]).astype(np.uint8)}, figure.choice)
    np.testing.assert_array_equal(packed.beliefs(), figure.beliefs())
    assert repr(figure) == "RowReader(12 images, 2 networks)"


@pytest.mark.parametrize("change, words", [
    ({"images": np.zeros((2, 28, 28))}, "images must be uint8"),
    ({"images": np.zeros((0, 28, 28), np.uint8)}, "images must be uint8"),
    ({"labels": [1, 2]}, "labels 12 entries"),
    ({"names": ["LSTM"]}, "probabilities must have the shape"),
    ({"probabilities": np.full((2, COUNT, ROWS, CLASSES), 1.5)}, "between 0 and 1"),
])
def test_a_record_that_does_not_fit_says_why(record, change, words):
    with pytest.raises(ValueError, match=words):
        RowReader({**record, **change})


def test_a_record_that_lacks_something_says_what(record):
    with pytest.raises(ValueError, match="lacks labels"):
        RowReader({name: value for name, value in record.items() if name != "labels"})


def test_choices_are_completed_and_checked(figure):
    assert figure.choice == {"image": 0, "network": "LSTM", "row": 14}
    for choice, words in (({"image": 12}, "not among"), ({"network": "CNN"}, "not among LSTM, GRU"),
                          ({"row": 0}, "not among 1"), ({"column": 1}, "no setting")):
        with pytest.raises(traitlets.TraitError, match=words):
            figure.choice = choice


# --- In a browser ---


def words(page):
    return page.locator(".row-reader .words").text_content()


def test_the_page_shows_what_python_holds(open_figure, figure):
    page = open_figure()
    for image, network, row in ((0, "LSTM", 1), (5, "GRU", 13), (11, "GRU", 28), (7, "LSTM", 27)):
        page.locator(".digits button").nth(image).click()
        page.locator("select").select_option(index=figure.names.index(network))
        page.get_by_role("slider").fill(str(row))
        figure.choice = {"image": image, "network": network, "row": row}
        beliefs = figure.beliefs()
        shown = [int(text[:-2]) for text in page.locator(".row-reader li span").all_text_contents()]
        np.testing.assert_allclose(shown, 100 * beliefs[row - 1], atol=0.51)
        first, second = np.argsort(-beliefs[row - 1], kind="stable")[:2]
        said = re.match(r"After (\d+) rows: (\d) with \d+ %, then (\d)", words(page))
        assert [int(group) for group in said.groups()] == [row, first, second]
        answers = beliefs.argmax(axis=1)
        settled = 1 + np.flatnonzero(np.append(True, answers[:-1] != answers[1:]))[-1]
        if row < settled:
            assert "will change again" in words(page)
        else:
            verdict = "right" if answers[-1] == figure.labels[image] else "wrong"
            assert f"From row {settled} on the answer is {answers[-1]} and stays so, which is {verdict}" in words(page)
        cells = page.locator(".map .cell").evaluate_all("(all) => all.map((each) => Number(each.getAttribute('fill-opacity')))")
        np.testing.assert_allclose(np.reshape(cells, (row, CLASSES)), beliefs[:row], atol=0.001)


def test_only_the_rows_that_were_read_are_shown(open_figure, record):
    page = open_figure()
    page.get_by_role("slider").fill("10")
    pixels = page.evaluate("""() => { const canvas = document.querySelector('.picture canvas');
        return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]; }""")
    pixels = np.reshape(pixels, (28, 28, 4))
    np.testing.assert_array_equal(pixels[:10, :, 0], record["images"][0, :10])
    assert (pixels[:10, :, 3] == 255).all() and (pixels[10:] == 0).all()


def test_rows_are_uncovered_by_play_by_key_and_by_click(open_figure):
    page = open_figure()
    page.clock.install()
    slider, button = page.get_by_role("slider"), page.get_by_role("button", name="Uncover")
    slider.focus()
    page.keyboard.press("End")
    assert "After 28 rows" in words(page)
    button.click()
    page.clock.run_for(250 * 4 + 20)
    assert "After 5 rows" in words(page) and page.get_by_role("button", name="Stop").is_visible()
    page.clock.run_for(250 * 30)
    assert "After 28 rows" in words(page) and button.is_visible()
    box = page.locator(".map").bounding_box()
    page.mouse.click(box["x"] + 22 + 6.5 * (box["width"] - 26) / 28, box["y"] + 60)
    assert "After 7 rows" in words(page)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert "After 8 rows" in words(page)
    page.clock.run_for(800)
    assert page.locator(".status").text_content().startswith("After 8 rows")
