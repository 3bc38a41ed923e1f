"""Small recorded networks on points of the plane, whose decision boundary moves as they train."""
import anywidget
import numpy as np
import traitlets

from .shared import assemble

FACTORS = ("data", "hidden", "activation", "seed", "step")
ACTIVATIONS = ("linear", "tanh", "ReLU")  # those that the figure can compute


class DecisionBoundary(anywidget.AnyWidget):
    """Choose points, a small network and a step of its training; see where it draws the line, and why there.

    record: a mapping of arrays, as `np.load("decision_boundary.npz")` gives it and `experiments/decision_boundary.py`
        writes it. A run is one choice of
        data (names), hidden (widths of the hidden layers, such as "8" or "4+4"),
        activation ("linear", "tanh" or "ReLU") and seed (numbers), kept at each
        step (rising numbers); all combinations are there.
        weights: float16, one axis: for each run, in the order of these factors, the last fastest, and for each step,
            kernel and bias of each layer, from 2 inputs to 2 logits, rows of a kernel first.
        points, labels, new_points, new_labels: of shapes (data, n, 2), (data, n), (data, m, 2), (data, m): what was
            learnt from, and fresh points to judge by; labels are 0 or 1.
    choice: the settings shown first, by default the first of each factor and the last step.
    probe: the point, two numbers, whose way through the network is written out.

    The traits `choice` and `probe` follow what the reader does; setting them moves the figure.
    Raises ValueError where the record is incomplete or does not fit together.
    """

    _esm, _css = assemble(__file__)
    factors = traitlets.Dict(help="the values of each factor").tag(sync=True)
    weights = traitlets.CBytes(help="float16").tag(sync=True)
    points = traitlets.CBytes(help="float16 coordinates, for each data set those learnt from, then the new").tag(sync=True)
    labels = traitlets.CBytes(help="uint8, in the order of the points").tag(sync=True)
    training = traitlets.Int(help="how many points of a data set are learnt from").tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)
    probe = traitlets.List(traitlets.Float(), minlen=2, maxlen=2, default_value=[0.0, 0.0]).tag(sync=True)

    def __init__(self, record, choice=None, **traits):
        missing = [name for name in (*FACTORS, "weights", "points", "labels", "new_points", "new_labels")
                   if name not in record]
        if missing:
            raise ValueError(f"the record lacks {', '.join(missing)}: make it with experiments/decision_boundary.py")
        values = {name: np.asarray(record[name]).tolist() for name in FACTORS}
        self._sizes = [layer_sizes(hidden) for hidden in values["hidden"]]
        unknown = sorted(set(values["activation"]) - set(ACTIVATIONS))
        if unknown:
            raise ValueError(f"activation {', '.join(unknown)} cannot be drawn: use {', '.join(ACTIVATIONS)}")
        self._weights = np.asarray(record["weights"], np.float16)
        others = len(values["data"]) * len(values["activation"]) * len(values["seed"]) * len(values["step"])
        expected = others * sum(map(count_parameters, self._sizes))
        if self._weights.shape != (expected,):
            raise ValueError(f"weights must have the shape ({expected},) for these factors, not {self._weights.shape}")
        points, labels = pack_points(record, len(values["data"]))
        first = {name: values[name][0] for name in FACTORS} | {"step": values["step"][-1]}
        self._values = values
        super().__init__(factors=values, weights=self._weights.astype("<f2").tobytes(), points=points, labels=labels,
                         training=np.shape(record["points"])[1],
                         choice={**first, **(choice or {})}, **traits)

    def __repr__(self):
        runs = len(self._weights) and np.prod([len(self._values[name]) for name in FACTORS[:-1]])
        return f"DecisionBoundary({runs} runs, {len(self._values['step'])} steps of each)"

    @traitlets.validate("choice")
    def _in_the_record(self, proposal):
        """Complete a choice with the present one, and refuse values that were not recorded."""
        settings = {**self.choice, **proposal["value"]}
        for name, value in settings.items():
            if value not in self._values.get(name, []):
                known = ", ".join(map(str, self._values.get(name, []))) or f"no factor: {', '.join(FACTORS)} are"
                raise traitlets.TraitError(f"{name} = {value!r} was not recorded ({known}).")
        return settings

    def layers(self):
        """Return the network that is shown, as a list of (kernel, bias), float16, kernels of shape (inputs, outputs)."""
        place = {name: self._values[name].index(self.choice[name]) for name in FACTORS}
        sizes = self._sizes[place["hidden"]]
        counts = [count_parameters(each) for each in self._sizes]
        steps, seeds = len(self._values["step"]), len(self._values["seed"])
        repeats = len(self._values["activation"]) * seeds * steps
        within = (place["activation"] * seeds + place["seed"]) * steps + place["step"]
        at = repeats * (place["data"] * sum(counts) + sum(counts[: place["hidden"]])) + within * counts[place["hidden"]]
        layers = []
        for inputs, outputs in zip(sizes, sizes[1:]):
            kernel = self._weights[at : at + inputs * outputs].reshape(inputs, outputs)
            at += inputs * outputs
            layers.append((kernel, self._weights[at : at + outputs]))
            at += outputs
        return layers


def layer_sizes(hidden):
    """Return the widths of all layers of a network named by its hidden ones: "4+4" gives [2, 4, 4, 2]."""
    try:
        widths = [int(width) for width in str(hidden).split("+")]
    except ValueError:
        widths = [0]
    if min(widths) < 1:
        raise ValueError(f"hidden must be widths joined by '+', such as '8' or '4+4', not {hidden!r}")
    return [2, *widths, 2]


def count_parameters(sizes):
    """Return the number of weights and biases of dense layers between these widths."""
    return sum((inputs + 1) * outputs for inputs, outputs in zip(sizes, sizes[1:]))


def pack_points(record, sets):
    """Return the bytes of the coordinates and of the labels; ValueError where their shapes or values cannot be right."""
    points, labels = [], []
    for prefix in ("", "new_"):
        where, what = np.asarray(record[f"{prefix}points"]), np.asarray(record[f"{prefix}labels"])
        if where.ndim != 3 or where.shape[0] != sets or where.shape[2] != 2 or what.shape != where.shape[:2]:
            raise ValueError(f"{prefix}points and {prefix}labels must have the shapes ({sets}, n, 2) and ({sets}, n), "
                             f"not {where.shape} and {what.shape}")
        if not np.isin(what, (0, 1)).all() or not np.isfinite(where).all():
            raise ValueError(f"{prefix}labels must be 0 or 1, and {prefix}points finite numbers")
        points.append(where.astype("<f2"))
        labels.append(what.astype(np.uint8))
    return np.concatenate(points, axis=1).tobytes(), np.concatenate(labels, axis=1).tobytes()
