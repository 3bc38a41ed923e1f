"""A digit that is turned, moved, bent and mixed, and what trained networks make of it."""
import anywidget
import numpy as np
import traitlets

from .shared import assemble

SIDE = 28
# What the sliders reach: lowest, highest, step. Degrees, pixels, a factor, degrees, pixels (root mean square), a share.
SLIDERS = {"turn": (-180, 180, 1), "right": (-12, 12, 1), "down": (-12, 12, 1), "zoom": (0.5, 1.5, 0.05),
           "shear": (-45, 45, 1), "warp": (0, 4, 0.25), "share": (0, 1, 0.05)}
MIXTURES = ("none", "mixup", "cutmix", "cutout")
REST = {"image": 0, "turn": 0, "right": 0, "down": 0, "zoom": 1, "shear": 0, "warp": 0, "seed": 0, "mirror": False,
        "tumble": False, "mixture": "none", "partner": 1, "share": 0.7}


class Augmenter(anywidget.AnyWidget):
    """Augment a digit by hand, and see what networks with other trainings answer.

    images: uint8, shape (n, 28, 28), at most 20. labels: the digit of each.
    networks: dictionary from a name to the six arrays of a trained `imagebook.studies.small_network()`, as
        its get_weights() returns them; at most three.
    settings: what is shown first; what it lacks is as in `REST`. "image" and "partner" are numbers of images; "turn"
        (degrees, against the clock), "right", "down" (pixels), "zoom", "shear" (degrees), "warp" (pixels) are the
        positions of sliders, "mirror" and "tumble" flips; "mixture" is one of `MIXTURES`, "share" what it leaves of
        the first image; "seed" chooses the warp.
    slider: the setting along which the curve is drawn; it follows the slider that was moved last.

    The traits `settings` and `slider` follow what the reader does; setting them moves the figure.
    Raises ValueError for images or networks of the wrong shape, TraitError for a setting out of range.
    """

    _esm, _css = assemble(__file__)
    pixels = traitlets.CBytes(help="uint8, image after image").tag(sync=True)
    labels = traitlets.List(traitlets.Int()).tag(sync=True)
    names = traitlets.List(help="names of the networks").tag(sync=True)
    weights = traitlets.CBytes(help="float32, network after network").tag(sync=True)
    shapes = traitlets.List(help="shapes of the arrays of a network").tag(sync=True)
    sliders = traitlets.Dict({name: list(limits) for name, limits in SLIDERS.items()}).tag(sync=True)
    rest = traitlets.Dict(REST).tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    slider = traitlets.Enum([name for name in SLIDERS if name != "share"], "turn").tag(sync=True)

    def __init__(self, images, labels, networks, settings=None, **traits):
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE) or not 1 <= len(images) <= 20:
            raise ValueError(f"images must be uint8 of shape (n, 28, 28), at most 20, not {images.dtype} {images.shape}")
        if len(labels) != len(images) or not all(0 <= int(label) <= 9 for label in labels):
            raise ValueError(f"labels must be {len(images)} digits, one for each image, not {list(labels)}")
        if not 1 <= len(networks) <= 3:
            raise ValueError(f"networks must be one to three, not {len(networks)}")
        for name, arrays in networks.items():
            shapes = [np.shape(array) for array in arrays]
            if shapes != SHAPES:
                raise ValueError(f"network {name!r} must have arrays of the shapes {SHAPES}, not {shapes}")
        self._networks = {name: [np.asarray(array, "<f4") for array in arrays] for name, arrays in networks.items()}
        super().__init__(
            pixels=images.tobytes(), labels=[int(label) for label in labels], names=list(networks),
            weights=b"".join(array.tobytes() for arrays in self._networks.values() for array in arrays),
            shapes=[list(shape) for shape in SHAPES], settings=settings or {}, **traits)

    def __repr__(self):
        return f"Augmenter({len(self.labels)} images, {len(self.names)} networks)"

    @traitlets.validate("settings")
    def _in_range(self, proposal):
        """Complete the settings with the present ones, and refuse what the figure cannot show."""
        settings = {**REST, **self.settings, **proposal["value"]}
        for name, value in settings.items():
            if name in SLIDERS:
                low, high, _ = SLIDERS[name]
                allowed, words = low <= value <= high, f"from {low} to {high}"
            elif name in ("image", "partner"):
                allowed, words = value in range(len(self.labels)), f"from 0 to {len(self.labels) - 1}"
            elif name == "mixture":
                allowed, words = value in MIXTURES, f"one of {', '.join(MIXTURES)}"
            elif name in ("mirror", "tumble"):
                allowed, words = value in (True, False), "True or False"
            elif name == "seed":
                allowed, words = value in range(2**31), "a whole number that is not negative"
            else:
                raise traitlets.TraitError(f"{name!r} is no setting: {', '.join(REST)} are")
            if not allowed:
                raise traitlets.TraitError(f"{name} must be {words}, not {value!r}")
        return settings

    def image(self):
        """Return the augmented image as the figure shows it: float64, shape (28, 28), from 0 to 1."""
        images = np.frombuffer(self.pixels, np.uint8).reshape(-1, SIDE, SIDE) / 255
        return augment(images[self.settings["image"]], images[self.settings["partner"]], self.settings)

    def target(self):
        """Return the label that a training would give the augmented image: shape (10,), sum 1."""
        kept = 1.0
        if self.settings["mixture"] == "mixup":
            kept = self.settings["share"]
        if self.settings["mixture"] == "cutmix":
            kept = 1 - np.mean(window(self.settings["share"]))
        target = np.zeros(10)
        target[self.labels[self.settings["image"]]] = kept
        target[self.labels[self.settings["partner"]]] += 1 - kept
        return target

    def probabilities(self):
        """Return what each network answers, a dictionary from its name to an array of shape (10,)."""
        return {name: classify(arrays, self.image()) for name, arrays in self._networks.items()}


SHAPES = [(5, 5, 1, 8), (8,), (3, 3, 8, 16), (16,), (400, 10), (10,)]


def sources(settings):
    """Return where each pixel of the result looks in the original: rows and columns, each of shape (28, 28).

    The picture is flipped, zoomed, sheared, turned, moved, in this order; so a pixel of the result goes the way back.
    """
    middle = (SIDE - 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE] - middle
    bend_x, bend_y = (settings["warp"] * field for field in waves(settings["seed"]))
    x, y = x - settings["right"], y - settings["down"]
    angle = np.deg2rad(settings["turn"])
    x, y = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)
    x = x + np.tan(np.deg2rad(settings["shear"])) * y
    x, y = x / settings["zoom"], y / settings["zoom"]
    x, y = (-x if settings["mirror"] else x), (-y if settings["tumble"] else y)
    return y + middle + bend_y, x + middle + bend_x


def waves(seed):
    """Return the warp of this seed: two fields of shape (28, 28), pixels to the right and down, mean square about 1.

    Each is the sum of four plane waves. The numbers come from a generator that is as short in JavaScript.
    """
    state = seed

    def draw():
        nonlocal state
        state = (1664525 * state + 1013904223) % 2**32
        return state / 2**32

    for _ in range(4):
        draw()  # neighbouring seeds begin alike
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    fields = []
    for _ in range(2):
        field = np.zeros((SIDE, SIDE))
        for _ in range(4):
            across, along, phase = 4 * draw() - 2, 4 * draw() - 2, draw()
            field += np.sqrt(0.5) * np.sin(2 * np.pi * (across * x + along * y + phase))
        fields.append(field)
    return fields


def bilinear(image, rows, columns):
    """Return the brightness of an image between its pixels; outside it is 0."""
    padded = np.pad(image, 1)
    rows, columns = np.clip(rows + 1, 0, SIDE + 1 - 1e-9), np.clip(columns + 1, 0, SIDE + 1 - 1e-9)
    row, column = rows.astype(int), columns.astype(int)
    low, left = rows - row, columns - column
    return ((1 - low) * ((1 - left) * padded[row, column] + left * padded[row, column + 1])
            + low * ((1 - left) * padded[row + 1, column] + left * padded[row + 1, column + 1]))


def window(share):
    """Return which pixels CutMix and cutout take away, shape (28, 28): a square in the middle, 1 - `share` of the area."""
    half = SIDE * np.sqrt(1 - share) / 2
    inside = abs(np.arange(SIDE) - (SIDE - 1) / 2) < half
    return inside[:, None] & inside


def augment(image, partner, settings):
    """Return an image, float, shape (28, 28), from 0 to 1, as these settings change it; `partner` stays as it is."""
    result = bilinear(image, *sources(settings))
    if settings["mixture"] == "mixup":
        return settings["share"] * result + (1 - settings["share"]) * partner
    if settings["mixture"] in ("cutmix", "cutout"):
        return np.where(window(settings["share"]), partner if settings["mixture"] == "cutmix" else 0, result)
    return result


def classify(arrays, image):
    """Return the probabilities of the small network with these weights for one image: shape (10,)."""
    first, first_bias, second, second_bias, last, last_bias = arrays
    windows = np.lib.stride_tricks.sliding_window_view(image, (5, 5))[::2, ::2]
    maps = np.maximum(np.einsum("ijuv,uvn->ijn", windows, first[:, :, 0]) + first_bias, 0)
    windows = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(0, 1))
    maps = np.maximum(np.einsum("ijluv,uvln->ijn", windows, second) + second_bias, 0)
    pooled = maps.reshape(5, 2, 5, 2, 16).max(axis=(1, 3))
    logits = pooled.reshape(-1) @ last + last_bias
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()
