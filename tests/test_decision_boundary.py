"""DecisionBoundary: the record, what Python and the page compute from it, and what a reader can do."""
import itertools
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import traitlets
from every_figure import test_axe_finds_nothing_serious  # noqa: F401 collected here

from imagebook.widgets import DecisionBoundary
from imagebook.widgets.decision_boundary import FACTORS

READY = ".decision-boundary .boundary[d]"  # in the figure once it is drawn
ROOT = Path(__file__).parent.parent
RECORD = ROOT / "experiments" / "decision_boundary.npz"
FUNCTIONS = {"linear": lambda z: z, "tanh": np.tanh, "ReLU": lambda z: np.maximum(z, 0)}


@pytest.fixture(scope="module")
def record():
    """The record of the book, read once."""
    with np.load(RECORD) as file:
        return dict(file)


@pytest.fixture(scope="module")
def experiment():
    return runpy.run_path(str(RECORD.with_suffix(".py")))


def forward(figure, points):
    """Return the weighted sums of each layer of the network that is shown, for points of shape (n, 2)."""
    sums, outputs = [], np.asarray(points, float)
    for kernel, bias in figure.layers():
        sums.append(outputs @ kernel.astype(float) + bias.astype(float))
        outputs = FUNCTIONS[figure.choice["activation"]](sums[-1])
    return sums


def probabilities(figure, points):
    logits = forward(figure, points)[-1]
    return 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))


def corners(record):
    """Return the choices with each factor at its first or its last value."""
    ends = [dict.fromkeys(np.asarray(record[name])[[0, -1]].tolist()) for name in FACTORS]
    return [dict(zip(FACTORS, values)) for values in itertools.product(*ends)]


# --- The record and Python ---


@pytest.mark.parametrize("choice", [
    {"data": "clouds", "hidden": "2", "activation": "ReLU", "seed": 1},
    {"data": "spirals", "hidden": "16", "activation": "tanh", "seed": 2},
    {"data": "digits", "hidden": "4+4", "activation": "linear", "seed": 0},
    {"data": "rings", "hidden": "4+4", "activation": "ReLU", "seed": 2},
])
def test_training_again_gives_the_record(record, experiment, choice):
    figure = DecisionBoundary(record, choice)
    number = list(record["data"]).index(choice["data"])
    points, labels = record["points"][number].astype(float), record["labels"][number]
    widths = [int(width) for width in choice["hidden"].split("+")]
    steps = [step for step in record["step"].tolist() if step <= 250]
    frames = experiment["train"](points, labels, widths, choice["activation"], choice["seed"], steps)
    for step, frame in zip(steps, frames):
        figure.choice = {"step": step}
        stored = np.concatenate([part.ravel() for layer in figure.layers() for part in layer])
        np.testing.assert_allclose(stored, frame, rtol=2e-3, atol=2e-3)  # float16


def test_the_points_are_those_that_the_experiment_makes(record, experiment):
    for name, made in zip(("points", "labels", "new_points", "new_labels"), experiment["samples"]()):
        np.testing.assert_allclose(record[name], made, atol=2e-3)


def test_every_run_is_found_where_it_was_written(record):
    """Read the weights from first to last, as they were written, and compare with what each choice finds."""
    figure, at = DecisionBoundary(record), 0
    for values in itertools.product(*(np.asarray(record[name]).tolist() for name in FACTORS)):
        figure.choice = dict(zip(FACTORS, values))
        found = np.concatenate([part.ravel() for layer in figure.layers() for part in layer])
        np.testing.assert_array_equal(found, record["weights"][at : at + found.size])
        at += found.size
    assert at == record["weights"].size


def test_a_linear_network_never_bends(record):
    """Along any straight line the difference of its logits is a straight line."""
    line = np.linspace(-2.5, 2.5, 11)[:, None] * [0.6, -0.8]
    for choice in corners(record):
        if choice["activation"] == "linear":
            logits = forward(DecisionBoundary(record, choice), line)[-1]
            np.testing.assert_allclose(np.diff(logits[:, 1] - logits[:, 0], 2), 0, atol=1e-9)


@pytest.mark.parametrize("change, words", [
    ({"weights": np.zeros(7, np.float16)}, "weights must have the shape"),
    ({"hidden": ["8", "many"]}, "hidden must be widths"),
    ({"activation": ["linear", "tanh", "softplus"]}, "softplus cannot be drawn"),
    ({"points": np.zeros((4, 160, 3))}, "points and labels must have the shapes"),
    ({"new_labels": np.full((4, 400), 2)}, "new_labels must be 0 or 1"),
    ({"new_points": np.full((4, 400, 2), np.nan)}, "new_points finite"),
])
def test_a_record_that_does_not_fit_says_why(record, change, words):
    with pytest.raises(ValueError, match=words):
        DecisionBoundary({**record, **change})


def test_a_record_that_lacks_something_says_what(record):
    with pytest.raises(ValueError, match="lacks labels: make it with experiments/decision_boundary.py"):
        DecisionBoundary({name: value for name, value in record.items() if name != "labels"})


def test_a_choice_is_completed_and_checked(record):
    figure = DecisionBoundary(record, {"activation": "tanh"})
    assert figure.choice["step"] == record["step"][-1] and figure.choice["data"] == record["data"][0]
    for choice, words in (({"activation": "sine"}, "'sine' was not recorded"), ({"depth": 3}, "no factor")):
        with pytest.raises(traitlets.TraitError, match=words):
            figure.choice = choice
    assert repr(figure) == "DecisionBoundary(252 runs, 16 steps of each)"


# --- In a browser ---


@pytest.fixture(scope="module")
def figure(record):
    return DecisionBoundary(record, {"data": "clouds", "hidden": "4", "activation": "ReLU", "step": 60}, probe=[1.0, 1.0])


def expected(record, choice):
    """Return what the figure has to say of a choice: loss, and the right answers among training and new points in %."""
    figure = DecisionBoundary(record, choice)
    number = list(record["data"]).index(figure.choice["data"])
    shares = []
    for prefix in ("new_", ""):
        labels, p = record[f"{prefix}labels"][number], probabilities(figure, record[f"{prefix}points"][number])
        shares.insert(0, 100 * np.mean((p > 0.5) == labels))
    return [-np.log(np.where(labels, p, 1 - p)).mean(), *shares]


def result(page):
    return page.locator(".decision-boundary .result").text_content()


def numbers(page, row):
    texts = page.locator(".decision-boundary dd").nth(row).locator("span").all_text_contents()
    return [float(text.replace("−", "-")) for text in texts]


def test_the_page_computes_what_python_computes(open_figure, record):
    """In every corner of the record: the same loss, the same shares, to the last digit that is shown."""
    page = open_figure()
    for choice in corners(record):
        for index, name in enumerate(FACTORS[:-1]):
            page.locator("select").nth(index).select_option(str(np.asarray(record[name]).tolist().index(choice[name])))
        slider = page.get_by_role("slider")
        slider.focus()
        page.keyboard.press("End" if choice["step"] else "Home")
        said = re.fullmatch(r"Step ([\d,]+): loss ([\d.]+); ([\d.]+) % of .* rightly, ([\d.]+) % of the new ones\.", result(page))
        assert said[1] == f"{choice['step']:,}"
        loss, *shares = expected(record, choice)
        assert abs(float(said[2]) - loss) < 0.00051, choice
        np.testing.assert_allclose([float(said[3]), float(said[4])], shares, atol=0.051)


def test_the_slider_and_the_loss_choose_a_step(open_figure, record):
    page = open_figure()
    slider, steps = page.get_by_role("slider"), record["step"].tolist()
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == f"{steps[steps.index(60) + 1]:,}"
    box = page.locator(".decision-boundary .chart").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 12, box["y"] + 60)
    assert slider.get_attribute("aria-valuetext") == f"{steps[-1]:,}"
    page.mouse.click(box["x"] + 44, box["y"] + 60)
    assert slider.get_attribute("aria-valuetext") == "0"


def test_the_loss_is_drawn_to_scale_also_where_new_points_lose(open_figure, record):
    page = open_figure()
    choice = {"data": "digits", "hidden": "16", "activation": "tanh", "seed": 1, "step": 20000}
    for index, name in enumerate(FACTORS[:-1]):
        page.locator("select").nth(index).select_option(str(record[name].tolist().index(choice[name])))
    page.get_by_role("slider").focus()
    page.keyboard.press("End")
    figure, losses = DecisionBoundary(record, choice), []
    for prefix in ("", "new_"):
        labels, p = record[f"{prefix}labels"][3], probabilities(figure, record[f"{prefix}points"][3])
        losses.append(-np.log(np.where(labels, p, 1 - p)).mean())
    assert losses[1] > 1  # an axis made for the first loss would not do
    ends = [page.locator(f".chart .{kind}").get_attribute("points").split()[-1] for kind in ("training", "fresh")]
    heights = [120 - float(end.split(",")[1]) for end in ends]
    assert heights[1] / heights[0] == pytest.approx(losses[1] / losses[0], rel=0.02)


def test_play_goes_from_the_first_step_to_the_last_and_stops(open_figure, record):
    page = open_figure()
    page.clock.install()
    slider, button = page.get_by_role("slider"), page.get_by_role("button")
    slider.focus()
    page.keyboard.press("End")
    button.click()
    assert slider.get_attribute("aria-valuetext") == "0" and button.text_content() == "Stop"
    page.clock.run_for(500 * 3 + 100)
    assert slider.get_attribute("aria-valuetext") == f"{record['step'][3]:,}"
    page.clock.run_for(500 * len(record["step"]))
    assert slider.get_attribute("aria-valuetext") == f"{record['step'][-1]:,}" and button.text_content() == "Play"


def test_the_probe_moves_by_key_and_by_click(open_figure, figure):
    page = open_figure()
    plane = page.locator(".plane")
    plane.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
    assert numbers(page, 0) == [0.8, 0.9]
    sums = forward(figure, [[0.8, 0.9]])
    np.testing.assert_allclose(numbers(page, 1), sums[0][0], atol=0.0051)
    np.testing.assert_allclose(numbers(page, 2), np.maximum(sums[0][0], 0), atol=0.0051)
    np.testing.assert_allclose(numbers(page, 3), sums[1][0], atol=0.0051)
    p = probabilities(figure, [[0.8, 0.9]])[0]
    np.testing.assert_allclose(numbers(page, 4), [1 - p, p], atol=0.0051)
    page.wait_for_function("document.querySelector('.decision-boundary .status').textContent.startsWith('the point 0.80, 0.90')")
    box = plane.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    np.testing.assert_allclose(numbers(page, 0), [-1.25, 0], atol=0.03)


def test_the_line_is_drawn_where_the_classes_are_equally_likely(open_figure, figure):
    page = open_figure()
    drawn = page.locator(".decision-boundary svg .boundary").first.get_attribute("d")
    ends = np.array([pair.split(",") for pair in drawn.replace("M", " ").replace("L", " ").split()], float)
    points = np.stack([ends[:, 0] / 400 * 5 - 2.5, 2.5 - ends[:, 1] / 400 * 5], axis=1)
    assert len(points) > 100
    assert np.abs(probabilities(figure, points) - 0.5).max() < 0.02


def test_new_points_are_shown_on_demand(open_figure):
    page = open_figure()
    fresh = page.locator(".plane .dot.new")
    assert fresh.count() == 400 and not fresh.first.is_visible()
    page.get_by_role("checkbox").check()
    assert fresh.first.is_visible()


def test_wrong_answers_are_marked(open_figure, record, figure):
    page = open_figure()
    wrong = (probabilities(figure, record["points"][0]) > 0.5) != record["labels"][0]
    assert page.locator(".plane .dot.wrong:not(.new)").count() == wrong.sum() > 0


def test_it_fits_a_narrow_phone(open_figure):
    page = open_figure(width=360)
    page.locator("select").nth(1).select_option("5")  # sixteen hidden units have the longest lines
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    sizes = page.locator(".decision-boundary :is(button, select, input)").evaluate_all(
        "(all) => all.map((each) => each.closest('label.check') ?? each).map((each) => each.getBoundingClientRect().height)")
    assert min(sizes) >= 24
