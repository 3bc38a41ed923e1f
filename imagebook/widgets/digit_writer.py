"""A generator of digits that runs in the page, and a walk through its latent space."""
import anywidget
import numpy as np
import traitlets

from .shared import assemble

CLASSES, DRAWS = 10, 12
ARRAYS = ("dense_kernel", "dense_bias", "up1_kernel", "up1_bias", "up2_kernel", "up2_bias")


class DigitWriter(anywidget.AnyWidget):
    """Ask a conditional generator for a digit, and walk through its latent space.

    network: a mapping of arrays, as `np.load("digit_writer.npz")` gives it and `experiments/dcgan.py` writes it, with
        names: of the models; latent: how many numbers z has; slope: of the leaky ReLU below zero (0: ReLU); and
        for each model NAME_dense_kernel of shape (latent + 10, 7 · 7 · C), NAME_dense_bias,
        NAME_up1_kernel (4, 4, C1, C), NAME_up1_bias, NAME_up2_kernel (4, 4, 1, C1), NAME_up2_bias:
        a dense layer on z and the one-hot digit, then two transposed convolutions of stride 2, padding "same",
        and a sigmoid.
    choice: what is shown first: "model" (a name), "digit" (0 to 9), "draw" (0 to 11) and "place" (longitude and
        latitude in degrees).

    A draw is three vectors of normally distributed numbers; at longitude a and latitude b
        z = cos a cos b · first + sin a cos b · second + sin b · third,
    which is again normally distributed, so that every place is as typical as any other.
    The trait `choice` follows what the reader does; setting it moves the figure. `image()` gives what is shown.
    Raises ValueError where the arrays are incomplete or do not fit together.
    """

    _esm, _css = assemble(__file__)
    names = traitlets.List(help="of the models").tag(sync=True)
    sizes = traitlets.Dict(help="latent numbers, channels after the dense and the first transposed layer, slope").tag(sync=True)
    weights = traitlets.CBytes(help="float16, model after model, arrays in the order of ARRAYS").tag(sync=True)
    draws = traitlets.CBytes(help="float32, shape (draws, 3, latent)").tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)

    def __init__(self, network, choice=None, **traits):
        names = [str(name) for name in network["names"]] if "names" in network else []
        wanted = ["latent", "slope", *(f"{name}_{array}" for name in names for array in ARRAYS)]
        missing = [name for name in ["names", *wanted] if name not in network]
        if missing or not names:
            raise ValueError(f"the network lacks {', '.join(missing or ['names'])}: make it with experiments/dcgan.py")
        latent, slope = int(network["latent"]), float(network["slope"])
        channels = np.shape(network[f"{names[0]}_up1_kernel"])[-1:-3:-1]
        shapes = {"dense_kernel": (latent + CLASSES, 49 * channels[0]), "dense_bias": (49 * channels[0],),
                  "up1_kernel": (4, 4, channels[1], channels[0]), "up1_bias": (channels[1],),
                  "up2_kernel": (4, 4, 1, channels[1]), "up2_bias": (1,)}
        self._models = {}
        for name in names:
            self._models[name] = {array: np.asarray(network[f"{name}_{array}"], np.float16) for array in ARRAYS}
            for array, shape in shapes.items():
                if self._models[name][array].shape != shape:
                    raise ValueError(f"{name}_{array} must have the shape {shape}, not {self._models[name][array].shape}")
        self._draws = np.random.default_rng(0).normal(size=(DRAWS, 3, latent)).astype("<f4")
        packed = b"".join(arrays[array].astype("<f2").tobytes() for arrays in self._models.values() for array in ARRAYS)
        super().__init__(names=names, weights=packed, draws=self._draws.tobytes(),
                         sizes={"latent": latent, "deep": channels[0], "middle": channels[1], "slope": slope, "draws": DRAWS},
                         choice={"model": names[0], "digit": 7, "draw": 0, "place": [0, 0], **(choice or {})}, **traits)

    def __repr__(self):
        return f"DigitWriter({', '.join(self.names)}: {self.sizes['latent']} latent numbers)"

    @traitlets.validate("choice")
    def _in_range(self, proposal):
        """Complete a choice with the present one, and refuse what the figure cannot show."""
        settings = {**self.choice, **proposal["value"]}
        known = {"model": self.names or list(self._models), "digit": range(CLASSES), "draw": range(DRAWS)}
        for name, value in settings.items():
            if name in known and value not in known[name]:
                raise traitlets.TraitError(f"{name} {value!r} is not among {', '.join(map(str, known[name]))}")
            if name not in known and name != "place":
                raise traitlets.TraitError(f"{name!r} is no setting: {', '.join([*known, 'place'])} are")
        longitude, latitude = settings["place"]
        if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
            raise traitlets.TraitError(f"place must be a longitude from -180 to 180 and a latitude from -90 to 90, "
                                       f"not {settings['place']}")
        return settings

    def latent_vector(self):
        """Return z at the present place, float64, shape (latent,)."""
        a, b = np.radians(self.choice["place"])
        return np.array([np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), np.sin(b)]) @ self._draws[self.choice["draw"]]

    def image(self, digit=None):
        """Return the image at the present place, brightness from 0 to 1, shape (28, 28), of another digit if asked."""
        arrays = {name: array.astype(float) for name, array in self._models[self.choice["model"]].items()}
        one_hot = np.eye(CLASSES)[self.choice["digit"] if digit is None else digit]
        x = np.concatenate([self.latent_vector(), one_hot]) @ arrays["dense_kernel"] + arrays["dense_bias"]
        x = x.reshape(7, 7, -1)
        for layer in ("up1", "up2"):
            x = np.where(x > 0, x, self.sizes["slope"] * x)
            x = transposed_convolution(x, arrays[f"{layer}_kernel"]) + arrays[f"{layer}_bias"]
        return 1 / (1 + np.exp(-x[..., 0]))


def transposed_convolution(x, kernel):
    """Return Keras's Conv2DTranspose with stride 2 and padding "same", without bias, for a 4 × 4 kernel.

    x: (height, width, channels in); kernel: (4, 4, channels out, channels in). Returns (2 height, 2 width, channels out).
    """
    height, width, _ = x.shape
    output = np.zeros((2 * height + 2, 2 * width + 2, kernel.shape[2]))
    for u in range(4):
        for v in range(4):
            output[u : u + 2 * height : 2, v : v + 2 * width : 2] += x @ kernel[u, v].T
    return output[1:-1, 1:-1]
