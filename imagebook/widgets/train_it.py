"""Train a network from the notebook: choose settings, press a button, see the curves grow over recorded ones."""
import base64
import html
import io
import math
import threading
import time
from statistics import median

import ipywidgets
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image  # matplotlib needs it too

from .run_explorer import CURVES, check_runs, factor_values, is_number

# Every word that a reader sees: a translation replaces this table.
WORDS = {
    "train": "Train", "stop": "Stop", "epoch": "epoch", "loss": "loss", "accuracy": "accuracy",
    "training": "training", "validation": "validation", "recorded": "validation, recorded",
    "val_loss": "validation loss", "val_accuracy": "validation accuracy",
    "ready": "Choose the settings, then train.",
    "first": "The first epoch, which also compiles, is running.",
    "progress": "Epoch {epoch} of {epochs} is done; about {seconds:.0f} s left.",
    "stopping": "Training stops at the end of this epoch.",
    "stopped": "Stopped after {epoch} of {epochs} epochs and {seconds:.0f} s: {numbers}.",
    "done": "Trained for {epoch} of {epochs} epochs in {seconds:.0f} s: {numbers}.",
    "error": "Training ended with an error. {kind}: {message}",
    "silent": "train ended without a report: it must call report(epoch, epochs, loss=…) after every epoch",
    "same": "Grey: the validation curves of {count} recorded runs with these settings: {settings}.",
    "nearest": "Grey: the validation curves of {count} recorded runs with the nearest settings: {settings}.",
    "unrecorded": "No run was recorded with {settings}.",
    "alt_live": "Curves after {epoch} of {epochs} epochs: {numbers}.",
    "alt_recorded": "Loss and accuracy per epoch in {count} recorded runs; at the end {numbers} (median).",
}


class Stopped(BaseException):
    """The reader pressed stop. Not an Exception, so that no `except Exception` on its way keeps the training going."""


class TrainIt(ipywidgets.VBox):
    """A panel that trains a network with the settings that the reader picks, while other cells go on running.

    train: a function train(settings, report): trains with `settings`, a dictionary with one value for each control,
        and calls report(epoch, epochs, loss=…, accuracy=…, val_loss=…, val_accuracy=…) after every epoch, from 1;
        other measurements are ignored and missing ones not drawn. In Keras, with `verbose=0`,
        `LambdaCallback(on_epoch_end=lambda epoch, logs: report(epoch + 1, epochs, **logs))`.
        It runs in a thread of its own, so it builds its model itself.
    controls: a dictionary from each setting's name to a list of numbers or texts, the first of which is chosen first.
    recorded: runs as `RunExplorer` takes them, drawn behind the curves: those with the same texts and the nearest
        numbers. Settings without a control must have one value in all of them.

    `run()`, `stop()` and `wait()` do what the button does. After a run `history` holds its curves, as Keras's
    `History.history`, and `error` the exception that ended it, or None: `raise panel.error` shows where it came from.
    Raises ValueError for anything else, saying what is wrong.
    """

    def __init__(self, train, controls, recorded=None):
        if not callable(train):
            raise ValueError(f"train must be a function train(settings, report), not {train!r}.")
        if not isinstance(controls, dict) or not controls:
            raise ValueError("controls must be a dictionary from setting names to lists of values, with one at least.")
        for name, values in controls.items():
            if not isinstance(name, str) or not isinstance(values, (list, tuple)) or not values:
                raise ValueError(f"The control {name!r} needs a name and a list of values, not {values!r}.")
            if not all(is_number(value) or isinstance(value, str) for value in values):
                raise ValueError(f"The control {name!r} has a value that is neither a number nor a text: {values!r}.")
        self._train, self._recorded = train, list(recorded or [])
        self._shared = [name for name in controls if all(name in run for run in self._recorded)]
        if self._recorded and not self._shared:
            raise ValueError(f"No control ({', '.join(controls)}) is a setting of all recorded runs.")
        check_runs(self._recorded, self._shared)
        for name, values in controls.items():
            factor_values(name, values)
            if name in self._shared:  # numbers and texts cannot be compared
                factor_values(name, [*values, *(run[name] for run in self._recorded)])
        self._thread, self._training, self._stop = None, False, threading.Event()
        self.history, self.error = {}, None

        self._controls = {name: ipywidgets.Dropdown(
            options=[(as_text(value), value) for value in in_order(values)], value=values[0],
            description=plain(name), style={"description_width": "initial"}, layout={"width": "auto"},
        ) for name, values in controls.items()}
        # Its value says what the reader saw when pressing it: pressed late, a stop cannot start another run.
        self._button = ipywidgets.ToggleButton(description=WORDS["train"])
        self._progress = ipywidgets.IntProgress(max=1, layout={"width": "100%", "max_width": "640px"})
        self._status = ipywidgets.HTML()
        self._plot = ipywidgets.HTML()  # not Image, which cannot have an alternative text
        self._note = ipywidgets.HTML()
        wrap = {"flex_flow": "row wrap", "grid_gap": "4px"}
        choices = ipywidgets.Box([*self._controls.values(), self._button], layout=wrap)
        super().__init__([choices, self._progress, self._status, self._plot, self._note])
        self.add_class("train-it")
        for control in self._controls.values():
            control.observe(lambda change: self._prepare(), "value")
        self._button.observe(self._pressed, "value")
        self._prepare()

    def __repr__(self):
        recorded = f"; {len(self._recorded)} recorded runs" if self._recorded else ""
        return f"TrainIt({' × '.join(self._controls)}{recorded})"

    @property
    def settings(self):
        """What is chosen now: a dictionary from setting names to values."""
        return {name: control.value for name, control in self._controls.items()}

    def run(self):
        """Start training with the present settings and return at once; nothing happens while it trains already."""
        self._button.value = True

    def stop(self):
        """Ask the training to end with its present epoch; nothing happens where there is none."""
        self._button.value = False

    def wait(self, timeout=None):
        """Wait until the training has ended, for `timeout` seconds at most, and say whether it has."""
        if self._thread:
            self._thread.join(timeout)
        return not self._training

    def _pressed(self, change):
        if change["new"] and not self._training:
            self._start()
        elif not change["new"] and self._training:
            self._stop.set()
            self._button.disabled = True
            self._say(WORDS["stopping"])

    def _prepare(self):
        """Show the recorded runs for the present settings, and nothing of an earlier training."""
        settings = self.settings
        runs, exact = nearest(self._recorded, {name: settings[name] for name in self._shared})
        self._curves = Curves(runs)
        if runs:
            words, shown = WORDS["same" if exact else "nearest"], {name: runs[0][name] for name in self._shared}
        else:  # numbers have a nearest one; texts do not
            words, shown = WORDS["unrecorded"], {name: settings[name] for name in self._shared}
            shown = {name: value for name, value in shown.items() if isinstance(value, str)}
        listed = ", ".join(f"{plain(name)} {as_text(value)}" for name, value in shown.items())
        self._note.value = html.escape(words.format(count=len(runs), settings=listed)) if self._recorded else ""
        self._plot.value = self._curves.picture(WORDS["alt_recorded"].format(
            count=len(runs), numbers=in_words(last_median(runs)))) if runs else ""
        self._progress.value = 0
        self._say(WORDS["ready"])

    def _start(self):
        self._prepare()
        self._stop.clear()
        self.history, self.error, self._training = {}, None, True
        self._button.description, self._progress.max = WORDS["stop"], 1
        self._enable(False)
        self._say(WORDS["first"])
        self._thread = threading.Thread(target=self._work, args=(self.settings,), daemon=True)
        self._thread.start()

    def _enable(self, enabled):
        for control in self._controls.values():
            control.disabled = not enabled

    def _say(self, text, role="status"):
        self._status.value = f'<div role="{role}" style="overflow-wrap: anywhere">{html.escape(text)}</div>'

    def _work(self, settings):
        """Train; whatever happens, say so and leave the panel ready for the next run."""
        started = last = time.monotonic()
        so_far = {"epoch": 0}

        def report(epoch, epochs, **measured):
            nonlocal last
            measured = {name: float(measured[name]) for name in CURVES if name in measured}
            if epoch != so_far["epoch"] + 1 or epochs < epoch:
                raise ValueError(f"report got epoch {epoch} of {epochs} after epoch {so_far['epoch']}: count from 1.")
            if not measured or self.history and measured.keys() != self.history.keys():
                raise ValueError(f"report needs the same measurements after every epoch, of {', '.join(CURVES)}.")
            for name, value in measured.items():
                self.history.setdefault(name, []).append(value)
            so_far.update(epoch=epoch, epochs=epochs, numbers=in_words(measured))
            now = time.monotonic()
            left, last = (now - last) * (epochs - epoch), now
            self._progress.max = epochs
            self._progress.value = epoch
            self._plot.value = self._curves.picture(WORDS["alt_live"].format(**so_far), self.history, epochs)
            if self._stop.is_set():
                raise Stopped
            self._say(WORDS["progress"].format(**so_far, seconds=left))

        outcome = "done"
        try:
            self._train(settings, report)
            if not self.history:
                raise RuntimeError(WORDS["silent"])
        except Stopped:
            outcome = "stopped"
        except BaseException as error:  # a SystemExit too: in a thread it would end the training without a word
            self.error = error
        seconds = time.monotonic() - started
        self._training = False
        self._enable(True)
        self._button.description, self._button.disabled, self._button.value = WORDS["train"], False, False
        if self.error:
            message = str(self.error).strip()[:1000]  # TensorFlow's can be pages
            self._say(WORDS["error"].format(kind=type(self.error).__name__, message=message), role="alert")
        else:
            self._say(WORDS[outcome].format(**so_far, seconds=seconds))


class Curves:
    """The loss and the accuracy of one training per epoch, over those of recorded runs.

    The figure is made where this is called, in the style `imagebook.book`: a style is a setting of the whole process,
    which a thread must not touch. Later pictures only move its lines.
    """

    def __init__(self, runs):
        with style.context("imagebook.book"):
            self.figure = Figure(facecolor="white")
            FigureCanvasAgg(self.figure)
            self.axes = dict(zip(["loss", "accuracy"], self.figure.subplots(1, 2)))
            self.lines = {}
            for name, axes in self.axes.items():
                axes.set(xlabel=WORDS["epoch"], ylabel=WORDS[name])
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
                for run in runs:
                    values = [value if is_number(value) else math.nan for value in run[f"val_{name}"]]
                    grey, = axes.plot(range(1, len(values) + 1), values, color="#808080", linestyle="-", linewidth=0.9)
                look = {"color": "#003f7f", "marker": "o", "markersize": 3}
                self.lines[name], = axes.plot([], [], linestyle="--", linewidth=1.4, markerfacecolor="white", **look)
                self.lines[f"val_{name}"], = axes.plot([], [], linestyle="-", **look)
            keys = {WORDS["training"]: self.lines["loss"], WORDS["validation"]: self.lines["val_loss"]}
            if runs:
                keys[WORDS["recorded"]] = grey
            self.figure.legend(keys.values(), keys.keys(), loc="outside upper center", ncols=3)

    def picture(self, alt, history=None, epochs=1):
        """Return an HTML image of the curves; `history` as Keras's, of a training of `epochs` epochs."""
        for name, values in (history or {}).items():
            self.lines[name].set_data(range(1, len(values) + 1), values)
        for axes in self.axes.values():
            curves = [line.get_ydata() for line in axes.lines]
            longest = max(epochs, *map(len, curves))
            axes.set_xlim(1 - 0.04 * longest, longest + 0.04 * longest)
            axes.relim()
            axes.autoscale(axis="y")  # again, where limits were set
            axes.autoscale_view(scalex=False)
        low, high = self.axes["accuracy"].get_ylim()
        if high - low < 0.1:  # a point of accuracy more or less is not to look like much
            self.axes["accuracy"].set_ylim((low + high) / 2 - 0.05, (low + high) / 2 + 0.05)
        losses = [value for line in self.axes["loss"].lines for value in line.get_ydata() if is_number(value)]
        # So that a run that diverges does not flatten the others.
        spread = losses and min(losses) > 0 and max(losses) > 30 * min(losses)
        self.axes["loss"].set_yscale("log" if spread else "linear")
        self.figure.canvas.draw()
        pixels = Image.frombuffer("RGBA", self.figure.canvas.get_width_height(), self.figure.canvas.buffer_rgba())
        file = io.BytesIO()
        pixels.convert("RGB").quantize(64).save(file, "png")  # few colours: a third of the bytes
        data = base64.b64encode(file.getvalue()).decode()
        look = "width: 640px; max-width: 100%"
        return f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" style="{look}">'


def nearest(runs, wanted):
    """Return the runs with the texts of `wanted` and the numbers nearest to its numbers, and whether they are the same.

    Every number counts relative to its range over all runs: on a logarithmic scale where all are positive.
    """

    def distance(run):
        return sum(steps(name, run[name]) for name in numbers)

    def steps(name, value):
        values = [run[name] for run in runs]
        scale = math.log if min([*values, wanted[name]]) > 0 else float
        return abs(scale(value) - scale(wanted[name])) / ((scale(max(values)) - scale(min(values))) or 1)

    numbers = [name for name, value in wanted.items() if is_number(value)]
    texts = wanted.keys() - numbers
    alike = [run for run in runs if all(run[name] == wanted[name] for name in texts)]
    if not alike:
        return [], False
    first = min(alike, key=distance)
    chosen = [run for run in alike if all(run[name] == first[name] for name in wanted)]
    return chosen, all(first[name] == wanted[name] for name in wanted)


def last_median(runs):
    """Return the medians over the runs of their validation curves' last numbers; without any, not a number."""
    last = {name: [run[name][-1] for run in runs if is_number(run[name][-1])] for name in ["val_loss", "val_accuracy"]}
    return {name: median(values) if values else math.nan for name, values in last.items()}


def in_order(values):
    """Return the different values as they are (Keras refuses a learning rate of 1 that is no float), numbers rising."""
    different = list(dict.fromkeys(values))
    return sorted(different) if is_number(values[0]) else different


def plain(name):
    """Return a name as it is read."""
    return name.replace("_", " ")


def as_text(value):
    """Return a value of a setting as it is shown."""
    return f"{value:g}" if is_number(value) else str(value)


def in_words(measured):
    """Return the last measurements as words: losses with three digits that count, accuracies with four places."""
    places = {name: ".4f" if "accuracy" in name else ".3g" for name in measured}
    return ", ".join(f"{WORDS[name]} {value:{places[name]}}" for name, value in measured.items())
