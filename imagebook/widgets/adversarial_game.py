"""A generator and a discriminator in one dimension, replayed step by step."""
import anywidget
import numpy as np
import traitlets

from .shared import assemble

ARRAYS = ("p_generated", "discriminator", "samples", "gradients", "distance")


class AdversarialGame(anywidget.AnyWidget):
    """Step through recorded trainings of generators on the line: densities, discriminator, and force on each sample.

    record: a mapping of arrays, as `np.load("gan_frames.npz")` gives it and `experiments/gan.py` writes it, with
        runs, data: names of the methods and of the target densities; critic: those methods whose discriminator is
        not a probability;
        steps: F rising numbers; x: K rising numbers, where densities are given;
        p_data: shape (data, K); p_generated, discriminator: (runs, data, F, K);
        samples, gradients: (runs, data, F, n), places of n samples and the force on each, minus the derivative of
        the generator's loss by its place; distance: (runs, data, F), of the generated density from the data's.
    choice: what is shown first: "run" and "data" (names) and "step"; by default the first of each.

    The trait `choice` follows what the reader does; setting it moves the figure.
    Raises ValueError where the record is incomplete or does not fit together.
    """

    _esm, _css = assemble(__file__)
    factors = traitlets.Dict(help="the values of run, data and step").tag(sync=True)
    critic = traitlets.List(help="the runs whose discriminator is not a probability").tag(sync=True)
    sizes = traitlets.Dict(help="how many points of the axis, how many samples").tag(sync=True)
    values = traitlets.CBytes(help="float16: x, p_data, then ARRAYS").tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)

    def __init__(self, record, choice=None, **traits):
        missing = [name for name in ("runs", "data", "critic", "steps", "x", "p_data", *ARRAYS) if name not in record]
        if missing:
            raise ValueError(f"the record lacks {', '.join(missing)}: make it with experiments/gan.py")
        factors = {name: np.asarray(record[key]).tolist() for name, key in
                   (("run", "runs"), ("data", "data"), ("step", "steps"))}
        runs, data, frames = map(len, factors.values())
        points, samples = len(record["x"]), np.shape(record["samples"])[-1]
        shapes = {"x": (points,), "p_data": (data, points), "p_generated": (runs, data, frames, points),
                  "discriminator": (runs, data, frames, points), "samples": (runs, data, frames, samples),
                  "gradients": (runs, data, frames, samples), "distance": (runs, data, frames)}
        packed = []
        for name, shape in shapes.items():
            array = np.asarray(record[name], float)
            if array.shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, not {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} must hold finite numbers")
            packed.append(array.astype("<f2").tobytes())
        if frames < 2 or (np.diff(factors["step"]) <= 0).any() or (np.diff(np.asarray(record["x"], float)) <= 0).any():
            raise ValueError("steps (at least two) and x must rise")
        self._factors = factors
        first = {name: values[0] for name, values in factors.items()}
        super().__init__(factors=factors, critic=[str(name) for name in record["critic"]], values=b"".join(packed),
                         sizes={"points": points, "samples": samples}, choice={**first, **(choice or {})}, **traits)

    def __repr__(self):
        runs, data, steps = map(len, self._factors.values())
        return f"AdversarialGame({runs} runs on {data} densities, {steps} steps of each)"

    @traitlets.validate("choice")
    def _in_the_record(self, proposal):
        """Complete a choice with the present one, and refuse values that were not recorded."""
        settings = {**self.choice, **proposal["value"]}
        for name, value in settings.items():
            if value not in self._factors.get(name, []):
                known = ", ".join(map(str, self._factors.get(name, []))) or f"no factor: {', '.join(self._factors)} are"
                raise traitlets.TraitError(f"{name} = {value!r} was not recorded ({known}).")
        return settings
