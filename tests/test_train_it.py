"""TrainIt: what it accepts, how a training runs, stops and fails, and what the page shows where there is no Python."""
import html
import json
import math
import re
import threading
from pathlib import Path

import nbformat
import pytest
from ipywidgets.embed import embed_data
from nbclient import NotebookClient

from imagebook.studies import read_record
from imagebook.widgets import TrainIt

ROOT = Path(__file__).resolve().parents[1]
HOST = ROOT / "site" / "static" / "living-figures.js"
CONTROLS = {"optimizer": ["Adam", "SGD"], "learning_rate": [0.01, 0.001, 0.1]}
CURVES = ["loss", "accuracy", "val_loss", "val_accuracy"]


def three_epochs(settings, report):
    """Train nothing: three epochs whose numbers tell the settings."""
    for epoch in range(1, 4):
        loss = settings["learning_rate"] / epoch
        report(epoch, 3, loss=loss, accuracy=0.5 + epoch / 10, val_loss=2 * loss, val_accuracy=0.4 + epoch / 10, lr=1)


class Steps:
    """A training whose epochs begin when the test says so."""

    def __init__(self):
        self.go, self.reported = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, settings, report):
        for epoch in range(1, 4):
            assert self.go.acquire(timeout=30)
            try:
                report(epoch, 3, loss=1 / epoch, accuracy=0.9)
            finally:
                self.reported.release()

    def epoch(self):
        self.go.release()
        assert self.reported.acquire(timeout=30)


def recorded(optimizers=("Adam", "SGD"), rates=(0.001, 0.003, 0.1)):
    """Return three runs for every setting; their validation loss is the learning rate."""
    settings = [{"optimizer": optimizer, "learning_rate": rate} for optimizer in optimizers for rate in rates]
    curves = {"loss": [2, 1, 0.5], "accuracy": [0.1, 0.2, 0.3], "cpu_seconds": 1}
    return [{**one, **curves, "seed": seed, "val_loss": [one["learning_rate"]] * 3,
             "val_accuracy": [0.2, 0.3, 0.4 + seed / 10]} for one in settings for seed in range(3)]


def text(part):
    return html.unescape(re.sub("<[^>]+>", "", part.value))


def alternative(panel):
    return html.unescape(re.search('alt="([^"]*)"', panel._plot.value)[1])


def grey_losses(panel):
    """Return the recorded validation losses as they are drawn."""
    return [line.get_ydata()[0] for line in panel._curves.axes["loss"].lines if line.get_color() == "#808080"]


def choose(panel, **settings):
    for name, value in settings.items():
        panel._controls[name].value = value


# ---- Python ---------------------------------------------------------------------------------------------------------


def test_a_training_runs_beside_other_cells_and_tells_its_numbers():
    panel = TrainIt(three_epochs, CONTROLS)
    assert repr(panel) == "TrainIt(optimizer × learning_rate)"
    assert panel.settings == {"optimizer": "Adam", "learning_rate": 0.01}
    assert [control.description for control in panel._controls.values()] == ["optimizer", "learning rate"]
    assert [value for _, value in panel._controls["learning_rate"].options] == [0.001, 0.01, 0.1]
    assert panel._plot.value == ""
    choose(panel, learning_rate=0.1)
    panel.run()
    assert panel.wait(30)
    assert panel.error is None
    assert list(panel.history) == CURVES
    assert panel.history["val_loss"] == pytest.approx([0.2, 0.1, 0.2 / 3])
    assert (panel._progress.value, panel._progress.max) == (3, 3)
    numbers = "loss 0.0333, accuracy 0.8000, validation loss 0.0667, validation accuracy 0.7000"
    assert re.fullmatch(rf"Trained for 3 of 3 epochs in \d+ s: {numbers}\.", text(panel._status))
    assert alternative(panel) == f"Curves after 3 of 3 epochs: {numbers}."


def test_train_gets_the_values_as_they_were_given():
    panel = TrainIt(three_epochs, {"learning_rate": [1.0, 0.5]})
    assert isinstance(panel.settings["learning_rate"], float)  # Keras refuses a rate that is an integer


def test_every_epoch_is_drawn_and_the_panel_waits_for_the_end():
    steps = Steps()
    panel = TrainIt(steps, CONTROLS)
    panel.run()
    assert panel._button.description == "Stop" and panel._controls["optimizer"].disabled
    assert text(panel._status).startswith("The first epoch")
    pictures = [panel._plot.value]
    for epoch in range(1, 4):
        assert not panel.wait(0)
        steps.epoch()
        pictures.append(panel._plot.value)
        expected = f"Curves after {epoch} of 3 epochs: loss {1 / epoch:.3g}, accuracy 0.9000."
        assert alternative(panel) == expected
        assert panel._progress.value == epoch
        if epoch < 3:
            assert re.fullmatch(rf"Epoch {epoch} of 3 is done; about \d+ s left\.", text(panel._status))
    data = [re.search("base64,([^\"]*)", picture)[1] for picture in pictures[1:]]
    assert len(set(data)) == 3 and all(picture.startswith("iVBORw0KGgo") for picture in data)
    assert panel.wait(30)
    assert panel._button.description == "Train" and not panel._button.value and not panel._controls["optimizer"].disabled


def test_a_stop_ends_the_training_with_its_epoch():
    steps = Steps()
    panel = TrainIt(steps, CONTROLS)
    panel.stop()  # nothing to stop
    panel.run()
    steps.epoch()
    panel.stop()
    assert text(panel._status) == "Training stops at the end of this epoch."
    assert panel._button.disabled
    panel.run()  # it has not ended: there is one training at a time
    steps.epoch()
    assert panel.wait(30)
    assert panel.error is None and panel.history["loss"] == [1, 0.5]
    assert re.fullmatch(r"Stopped after 2 of 3 epochs and \d+ s: loss 0.5, accuracy 0.9000\.", text(panel._status))
    assert not panel._button.disabled and not panel._button.value
    panel.stop()  # pressed too late, it starts nothing
    assert panel.wait(0) and text(panel._status).startswith("Stopped")


def test_an_exception_on_the_way_cannot_swallow_the_stop():
    reached = []

    def careless(settings, report):
        for epoch in range(1, 3):
            if epoch == 2:
                panel.stop()
            try:
                report(epoch, 2, loss=1)
            except Exception:
                pass
        reached.append("the end")

    panel = TrainIt(careless, CONTROLS)
    panel.run()
    assert panel.wait(30)
    assert not reached and text(panel._status).startswith("Stopped after 2 of 2")


def test_an_error_is_told_in_the_panel_and_the_next_run_works(capfd):
    def train(settings, report):
        if settings["optimizer"] == "SGD":
            report(1, 3, loss=math.nan, accuracy=0.1)
            raise FloatingPointError("the loss is <not> a number")
        three_epochs(settings, report)

    panel = TrainIt(train, CONTROLS)
    choose(panel, optimizer="SGD")
    panel.run()
    assert panel.wait(30)
    assert text(panel._status) == "Training ended with an error. FloatingPointError: the loss is <not> a number"
    assert 'role="alert"' in panel._status.value and "&lt;not&gt;" in panel._status.value
    assert isinstance(panel.error, FloatingPointError) and panel.error.__traceback__
    assert alternative(panel) == "Curves after 1 of 3 epochs: loss nan, accuracy 0.1000."
    choose(panel, optimizer="Adam")
    assert panel._plot.value == "" and text(panel._status).startswith("Choose the settings")
    panel.run()
    assert panel.wait(30)
    assert panel.error is None and len(panel.history["loss"]) == 3 and text(panel._status).startswith("Trained")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (lambda settings, report: None, "RuntimeError: train ended without a report"),
        (lambda settings, report: report(0, 3, loss=1), "ValueError: report got epoch 0 of 3 after epoch 0: count"),
        (lambda settings, report: report(4, 3, loss=1), "ValueError: report got epoch 4 of 3"),
        (lambda settings, report: report(1, 3), "ValueError: report needs the same measurements"),
        (lambda settings, report: [report(1, 2, loss=1), report(2, 2, accuracy=1)], "ValueError: report needs"),
        (lambda settings, report: report(1, 3, loss="much"), "ValueError: could not convert"),
        (lambda settings: None, "TypeError: .* takes 1 positional argument but 2 were given"),
        (lambda settings, report: exit(), "SystemExit"),
    ],
)
def test_a_wrong_train_is_told_in_the_panel(train, message):
    panel = TrainIt(train, CONTROLS)
    panel.run()
    assert panel.wait(30)
    assert re.match("Training ended with an error. " + message, text(panel._status))


def test_recorded_runs_of_the_same_or_the_nearest_settings_are_drawn():
    panel = TrainIt(three_epochs, CONTROLS, recorded())
    assert repr(panel) == "TrainIt(optimizer × learning_rate; 18 recorded runs)"
    drawn = "Grey: the validation curves of 3 recorded runs with"
    assert grey_losses(panel) == [0.003] * 3  # 0.01 is 3.3 times as large, 0.1 ten times
    assert text(panel._note) == f"{drawn} the nearest settings: optimizer Adam, learning rate 0.003."
    ends = "at the end validation loss 0.003, validation accuracy 0.5000 (median)."
    assert alternative(panel) == f"Loss and accuracy per epoch in 3 recorded runs; {ends}"
    choose(panel, learning_rate=0.1, optimizer="SGD")
    assert grey_losses(panel) == [0.1] * 3
    assert text(panel._note) == f"{drawn} these settings: optimizer SGD, learning rate 0.1."
    before = panel._plot.value
    panel.run()
    assert panel.wait(30)
    assert grey_losses(panel) == [0.1] * 3 and panel._plot.value != before


def test_another_text_is_no_near_setting():
    panel = TrainIt(three_epochs, CONTROLS, recorded(optimizers=["Adam"]))
    choose(panel, optimizer="SGD")
    assert grey_losses(panel) == [] and panel._plot.value == ""
    assert text(panel._note) == "No run was recorded with optimizer SGD."
    panel.run()
    assert panel.wait(30) and panel._plot.value


def test_a_diverging_run_leaves_the_others_in_sight():
    runs = recorded()
    for run in runs:
        run["val_loss"] = [0.5, 1000, None]
    panel = TrainIt(three_epochs, CONTROLS, runs)
    assert panel._curves.axes["loss"].get_yscale() == "log"
    assert TrainIt(three_epochs, CONTROLS, recorded())._curves.axes["loss"].get_yscale() == "linear"


def test_small_differences_of_accuracy_look_small():
    def train(settings, report):
        for epoch in range(1, 3):
            report(epoch, 2, accuracy=0.5 + epoch / 1000)

    panel = TrainIt(train, CONTROLS)
    panel.run()
    assert panel.wait(30) and panel.error is None
    low, high = panel._curves.axes["accuracy"].get_ylim()
    assert high - low == pytest.approx(0.1) and low < 0.501 < 0.502 < high


def test_the_record_of_a_study_can_lie_behind():
    runs = read_record(ROOT / "experiments" / "optimizer.jsonl")
    panel = TrainIt(three_epochs, {**CONTROLS, "batch_size": [64, 32]}, runs)
    assert text(panel._note).endswith("5 recorded runs with these settings: optimizer Adam, learning rate 0.01.")
    assert len(panel._plot.value) < 60_000  # every panel of a notebook stores its picture


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", CONTROLS), r"train must be a function train\(settings, report\), not 'fit'"),
        ((three_epochs, {}), "controls must be a dictionary"),
        ((three_epochs, ["optimizer"]), "controls must be a dictionary"),
        ((three_epochs, {"units": 8}), "'units' needs a name and a list of values, not 8"),
        ((three_epochs, {"optimizer": "Adam"}), "'optimizer' needs a name and a list"),
        ((three_epochs, {"units": []}), "'units' needs"),
        ((three_epochs, {3: [1, 2]}), "control 3 needs a name"),
        ((three_epochs, {"units": [8, None]}), "'units' has a value that is neither a number nor a text"),
        ((three_epochs, {"units": [8, "many"]}), "'units' must be all numbers or all texts"),
        ((three_epochs, {"units": [8, 8]}), "'units' has a single value, 8"),
        ((three_epochs, {"units": [8, 16]}, recorded()), r"No control \(units\) is a setting of all recorded runs"),
        ((three_epochs, {"optimizer": ["Adam", "SGD"]}, recorded()), "the settings and the seed of run 0"),
        ((three_epochs, {**CONTROLS, "learning_rate": ["low", "high"]}, recorded()), "'learning_rate' must be all"),
        ((three_epochs, CONTROLS, [{"optimizer": "SGD", "learning_rate": 1}]), "run 0 .* lacks seed"),
    ],
)
def test_wrong_arguments_are_refused_in_words(arguments, message):
    with pytest.raises(ValueError, match=message):
        TrainIt(*arguments)


# ---- a real kernel --------------------------------------------------------------------------------------------------

CELLS = [
    "import json\nfrom imagebook.widgets import TrainIt",
    """def train(settings, report):
    for epoch in range(1, 4):
        report(epoch, 3, loss=settings["rate"] / epoch, accuracy=0.9)""",
    "panel = TrainIt(train, {'rate': [0.1, 0.2]})\npanel",
    "panel.run()\ndone = panel.wait()",
    "done, panel.history",
]


def executed(folder):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": folder}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        client.execute()
    return notebook


def test_a_notebook_gives_the_same_outputs_every_time(tmp_path):
    first, second = executed(tmp_path), executed(tmp_path)
    output = first.cells[2].outputs[0].data
    assert output["text/plain"] == "TrainIt(rate)"
    assert first.cells[3].outputs == []  # the training says nothing in the cell that starts it
    assert "(True, {'loss': [0.1, 0.05, " in first.cells[4].outputs[0].data["text/plain"]
    view = "application/vnd.jupyter.widget-view+json"
    model = output[view]["model_id"]
    stored = first.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    assert stored[model]["state"]["_dom_classes"] == ["train-it"]
    assert any("Trained for 3 of 3 epochs" in str(one["state"].get("value")) for one in stored.values())
    assert output[view].pop("model_id") != second.cells[2].outputs[0].data[view].pop("model_id")
    assert [cell.outputs for cell in first.cells] == [cell.outputs for cell in second.cells]


# ---- a real browser -------------------------------------------------------------------------------------------------

BINDER = "https://mybinder.org/v2/gh/someone/book/main?urlpath=lab/tree/chapter.ipynb"
MENU = f"""<div class="dropdown-launch-buttons"><ul>
<li><a href="https://colab.research.google.com/github/a/b">Colab</a></li>
<li><a href="{BINDER}">Binder</a></li></ul></div>"""


@pytest.mark.parametrize("menu", [MENU, ""])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_without_python_a_page_says_where_to_run_it(browser, tmp_path, menu, theme):
    from axe_playwright_python.sync_playwright import Axe
    from ipywidgets import IntSlider

    stored = embed_data(views=[TrainIt(three_epochs, CONTROLS, recorded()), IntSlider()], drop_defaults=False)
    body = ""
    for kind, data in [("state", stored["manager_state"]), *(("view", view) for view in stored["view_specs"])]:
        data = json.dumps(data).replace("<", r"\u003c")  # so that no text ends the script
        body += f'<script type="application/vnd.jupyter.widget-{kind}+json">{data}</script>'
    file = tmp_path / "page.html"
    background, ink = ("#fff", "#222832") if theme == "light" else ("#14181e", "#ced6dd")
    file.write_text(
        f'<!doctype html><html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>Train</title>'
        f'<meta name="viewport" content="width=device-width"><style>html {{ background: {background}; color: {ink} }}'
        f" a {{ color: inherit }}</style><script>{HOST.read_text(encoding='utf-8')}</script></head>"
        f"<body><main><h1>Train</h1>{menu}{body}</main></body></html>"
    )
    errors = []
    with browser.new_context(viewport={"width": 360, "height": 800}) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.goto(file.as_uri())
        sentences = page.locator(".living-figure p")
        sentences.first.wait_for()
        way = "run this page in Binder" if menu else "the page Setup says how to get one"
        assert sentences.all_inner_texts() == [
            f"This panel trains a network and needs a running Python: {way}.",
            f"This panel needs a running Python: {way}.",
        ]
        links = page.locator(".living-figure a")
        assert [link.get_attribute("href") for link in links.all()] == [BINDER] * 2 * bool(menu)
        dead = "button, input, select, [role=slider], [role=status], [role=alert], [aria-live]"
        assert page.locator(dead).count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        found = Axe().run(page).response["violations"]
        assert not [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")]
    assert not errors
