"""Recorded training runs over a grid of settings, for a reader to explore."""
import gzip
import json
import math
from numbers import Real

import anywidget
import traitlets

from .shared import assemble

CURVES = ["loss", "accuracy", "val_loss", "val_accuracy"]  # the names that Keras gives them in History.history
OPTIONAL = ["test_accuracy", "parameters"]


class RunExplorer(anywidget.AnyWidget):
    """Curves, final accuracy and time of recorded training runs, for settings that the reader picks.

    runs: a list of dictionaries, one a run, each with
        one entry for every factor: a number or a text;
        "seed": what tells runs with equal settings apart;
        "loss", "accuracy", "val_loss", "val_accuracy": one number an epoch, as in Keras's `History.history`;
            a loss that is not a number (None, nan or infinite) is drawn as a gap;
        "cpu_seconds": how long the training took;
        optionally, in all runs or in none, "test_accuracy" (without it, the validation accuracy after the last epoch
        is the final accuracy) and "parameters" (how many the model has). Other entries are ignored.
    factors: the names of the settings that vary, as a list or, with the words that the reader sees, as a dictionary:
        {"learning_rate": "learning rate", "optimizer": "optimizer"}. The first is drawn from left to right, the
        second from bottom to top; further ones become lists. Settings without a run are shown as missing.
    choice: the settings shown first, by default those of the first run.

    The traits `choice` and `pinned` (settings, or None) follow what the reader does; setting them moves the figure.
    Raises ValueError where a run is incomplete, contradicts another or lies outside the units above.
    """

    _esm, _css = assemble(__file__)
    data = traitlets.Bytes().tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)
    pinned = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)

    def __init__(self, runs, factors, choice=None, **traits):
        runs = list(runs)
        words = dict(factors) if isinstance(factors, dict) else {name: name.replace("_", " ") for name in factors}
        if not runs or not words:
            raise ValueError("RunExplorer needs at least one run and one factor.")
        check_runs(runs, words)
        self._values = {name: factor_values(name, [run[name] for run in runs]) for name in words}
        self._runs = len(runs)
        first = {name: runs[0][name] for name in words}
        super().__init__(data=pack(runs, words, self._values), choice={**first, **(choice or {})}, **traits)

    def __repr__(self):
        return f"RunExplorer({self._runs} runs: {' × '.join(self._values)})"

    @traitlets.validate("choice", "pinned")
    def _in_the_grid(self, proposal):
        """Complete a choice with the present one, and refuse values that no run has."""
        if proposal["value"] is None:
            return None
        settings = {**self.choice, **proposal["value"]}
        for name, value in settings.items():
            if value not in self._values.get(name, []):
                known = ", ".join(map(str, self._values.get(name, []))) or f"no factor: {', '.join(self._values)} are"
                raise traitlets.TraitError(f"{proposal['trait'].name}: {name} = {value!r} was not recorded ({known}).")
        return settings


def is_number(value):
    """Say whether this is a finite real number (of Python or NumPy)."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def check_runs(runs, factors):
    """Raise ValueError, naming the run, where one lacks an entry or has one that cannot be right."""
    present = [name for name in OPTIONAL if any(name in run for run in runs)]
    seen = {}
    for index, run in enumerate(runs):
        who = f"run {index} ({', '.join(f'{name}={run[name]!r}' for name in [*factors, 'seed'] if name in run)})"
        missing = [name for name in [*factors, "seed", *CURVES, "cpu_seconds", *present] if name not in run]
        if missing:
            raise ValueError(f"{who} lacks {', '.join(missing)}.")
        for name in [*factors, "seed"]:
            if not is_number(run[name]) and not isinstance(run[name], str):
                raise ValueError(f"{who}: {name} must be a number or a text.")
        epochs = {name: len(run[name]) if hasattr(run[name], "__len__") else 0 for name in CURVES}
        if len(set(epochs.values())) > 1 or not epochs["loss"]:
            raise ValueError(f"{who} must have the same number of epochs in every curve, at least one, not {epochs}.")
        accuracies = [*run["accuracy"], *run["val_accuracy"], run.get("test_accuracy", 0)]
        if not all(is_number(value) and 0 <= value <= 1 for value in accuracies):
            raise ValueError(f"{who} has an accuracy that is not a fraction between 0 and 1.")
        for name in ["cpu_seconds", *(name for name in present if name == "parameters")]:
            if not is_number(run[name]) or run[name] < 0:
                raise ValueError(f"{who}: {name} must be a number of at least 0, not {run[name]!r}.")
        key = (*(run[name] for name in factors), run["seed"])
        if key in seen:
            raise ValueError(f"{who} has the settings and the seed of run {seen[key]}.")
        seen[key] = index


def factor_values(name, values):
    """Return the different values of a factor: numbers in rising order, texts as they first appear."""
    different = list(dict.fromkeys(values))
    if all(is_number(value) for value in different):
        different = sorted(int(value) if float(value).is_integer() else float(value) for value in different)
    elif not all(isinstance(value, str) for value in different):
        raise ValueError(f"The values of {name!r} must be all numbers or all texts, not {different}.")
    if len(different) < 2:
        raise ValueError(f"{name!r} has a single value, {different[0]!r}: leave it out of the factors.")
    return different


def pack(runs, words, values):
    """Return the runs as gzipped JSON, every measurement rounded to four significant digits."""

    def short(value):
        return float(f"{value:.4g}") if is_number(value) else None

    records = []
    for run in runs:
        cell = 0  # the settings as one number; the last factor counts fastest
        for name in words:
            cell = cell * len(values[name]) + values[name].index(run[name])
        record = {"cell": cell, "cpu_seconds": short(run["cpu_seconds"])}
        record |= {name: [short(value) for value in run[name]] for name in CURVES}
        final = run["test_accuracy"] if "test_accuracy" in run else run["val_accuracy"][-1]
        record["final_accuracy"] = short(final)
        if "parameters" in run:
            record["parameters"] = int(run["parameters"])
        records.append(record)
    packed = {
        "factors": [{"name": name, "words": words[name], "values": values[name]} for name in words],
        "tested": "test_accuracy" in runs[0],
        "runs": records,
    }
    # Without the time of packing, so that the same runs make the same bytes.
    return gzip.compress(json.dumps(packed, separators=(",", ":")).encode(), mtime=0)
