"""How a gradient grows or fades on its way back through a recurrent network."""
import anywidget
import numpy as np
import traitlets

from .shared import assemble

ACTIVATIONS = ("identity", "tanh", "ReLU")
RADIUS, STRENGTH = (0.5, 1.5), (0.0, 2.0)  # what the sliders of the figure reach
WARM_UP = 50  # steps before the first that counts, so that the start is forgotten where it can be


class JacobianProduct(anywidget.AnyWidget):
    """Move the spectral radius of a recurrent network, and see its states and the length of its gradients.

    matrices: dictionary, name: recurrent matrices of shape (draws, units, units), the same for all names; each is
        scaled to spectral radius 1.
    noise: what drives the units, of shape (steps + 50, units); the first 50 steps are not shown.
    choice: what is shown first: "matrix" (a name), "draw" (0, 1, …), "activation" ("identity", "tanh" or "ReLU"),
        "radius" (spectral radius) and "strength" (of the noise); by default the first of each, 1 and 0.5.

    The state follows h_t = f(W h_{t-1} + strength · noise_t) from h = 0. The trait `choice` follows what the reader
    does; setting it moves the figure. `norms()` gives what is drawn.
    Raises ValueError where shapes do not fit or a matrix has the spectral radius 0.
    """

    _esm, _css = assemble(__file__)
    names = traitlets.List(help="of the kinds of matrix").tag(sync=True)
    sizes = traitlets.Dict(help="draws, units, steps and the steps before").tag(sync=True)
    values = traitlets.CBytes(help="float32: all matrices at spectral radius 1, then the noise").tag(sync=True)
    spectra = traitlets.List(help="of each matrix: largest singular value, then real and imaginary parts").tag(sync=True)
    limits = traitlets.Dict({"radius": RADIUS, "strength": STRENGTH}).tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)

    def __init__(self, matrices, noise, choice=None, **traits):
        if not matrices:
            raise ValueError("JacobianProduct needs at least one kind of matrix.")
        arrays = {name: np.asarray(array, float) for name, array in matrices.items()}
        shape, noise = next(iter(arrays.values())).shape, np.asarray(noise, float)
        if len(shape) != 3 or shape[1] != shape[2] or any(array.shape != shape for array in arrays.values()):
            raise ValueError("matrices must all have the same shape (draws, units, units), not "
                             + ", ".join(str(array.shape) for array in arrays.values()))
        if noise.ndim != 2 or noise.shape[1] != shape[1] or len(noise) < WARM_UP + 2:
            raise ValueError(f"noise must have the shape (more than {WARM_UP + 1}, {shape[1]}), not {noise.shape}")
        if not all(np.isfinite(array).all() for array in [*arrays.values(), noise]):
            raise ValueError("matrices and noise must hold finite numbers")
        radii = {name: np.abs(np.linalg.eigvals(array)).max(axis=1) for name, array in arrays.items()}
        if min(radius.min() for radius in radii.values()) < 1e-9:
            raise ValueError("a matrix with spectral radius 0 cannot be scaled to 1")
        scaled = [(array / radii[name][:, None, None]).astype("<f4") for name, array in arrays.items()]
        self._matrices, self._noise = dict(zip(arrays, scaled)), noise.astype("<f4")
        first = {"matrix": next(iter(arrays)), "draw": 0, "activation": ACTIVATIONS[0], "radius": 1.0, "strength": 0.5}
        super().__init__(
            names=list(arrays), sizes={"draws": shape[0], "units": shape[1], "steps": len(noise) - WARM_UP, "before": WARM_UP},
            values=b"".join(array.tobytes() for array in [*scaled, self._noise]),
            spectra=[spectrum(matrix) for array in scaled for matrix in array], choice={**first, **(choice or {})}, **traits)

    def __repr__(self):
        return f"JacobianProduct({len(self.names)} kinds of matrix, {self.sizes['draws']} draws, {self.sizes['units']} units)"

    @traitlets.validate("choice")
    def _in_range(self, proposal):
        """Complete a choice with the present one, and refuse what the figure cannot show."""
        settings = {**self.choice, **proposal["value"]}
        known = {"matrix": list(self._matrices), "activation": list(ACTIVATIONS), "draw": list(range(self.sizes["draws"]))}
        for name, value in settings.items():
            if name in known and value not in known[name]:
                raise traitlets.TraitError(f"{name} {value!r} is not among {', '.join(map(str, known[name]))}")
            if name not in known and name not in self.limits:
                raise traitlets.TraitError(f"{name!r} is no setting: {', '.join([*known, *self.limits])} are")
            if name in self.limits and not self.limits[name][0] <= value <= self.limits[name][1]:
                raise traitlets.TraitError(f"{name} must lie between {self.limits[name][0]} and {self.limits[name][1]}")
        return settings

    def norms(self):
        """Return the largest singular value of the product of Jacobians that leads back 0, 1, 2, … steps, float64."""
        choice = self.choice
        matrix = choice["radius"] * self._matrices[choice["matrix"]][choice["draw"]].astype(float)
        state, slopes = np.zeros(len(matrix)), []
        for noise in self._noise.astype(float):
            drive = matrix @ state + choice["strength"] * noise
            state = {"identity": drive, "tanh": np.tanh(drive), "ReLU": np.maximum(drive, 0)}[choice["activation"]]
            slopes.append({"identity": np.ones_like(state), "tanh": 1 - state**2, "ReLU": (drive > 0) * 1.0}[choice["activation"]])
        product, norms = np.eye(len(matrix)), [1.0]
        for slope in slopes[: WARM_UP : -1]:
            product = product @ (slope[:, None] * matrix)
            norms.append(np.linalg.norm(product, 2))
        return np.array(norms)


def spectrum(matrix):
    """Return the largest singular value of a matrix, then the real and the imaginary parts of its eigenvalues."""
    eigenvalues = np.linalg.eigvals(matrix.astype(float))
    return [float(value) for value in
            [np.linalg.norm(matrix.astype(float), 2), *np.round(eigenvalues.real, 4), *np.round(eigenvalues.imag, 4)]]
