"""A pad to draw a digit on: the article's network reads it, in the reader's browser."""
from pathlib import Path

import anywidget
import numpy as np
import traitlets

HERE = Path(__file__).parent
DIGIT_PAD = HERE.parent / "files" / "digit_pad.npz"

FIELD, BOX = 28, 20  # pixels along a side of an MNIST image, and of the box that its digit fills
SIZE = 280  # pixels along a side of the pad
LAYERS = ((3, 3, 1, 32), (3, 3, 32, 64), (9216, 128), (128, 10))  # the kernels; outputs come last
OUTPUTS = sum(shape[-1] for shape in LAYERS)
STEPS = ("invert", "scale", "average", "centre")  # of the preparation, each of which can be left out


def coverage(pixels, scale):
    """Return the matrix, shape (cells, pixels), that averages a row of pixels over cells 1 / `scale` pixels wide."""
    cell = np.arange(np.ceil(pixels * scale - 1e-9))[:, None]
    pixel = np.arange(pixels)
    overlap = np.minimum(cell + 1, (pixel + 1) * scale) - np.maximum(cell, pixel * scale)
    return overlap.clip(0)


def nearest(pixels, scale):
    """Return the matrix, shape (cells, pixels), that takes the pixel in the middle of each cell, 1 / `scale` wide."""
    cell = np.arange(np.ceil(pixels * scale - 1e-9))[:, None]
    return (np.minimum(np.floor((cell + 0.5) / scale), pixels - 1) == np.arange(pixels)).astype(float)


def prepare_drawing(image, leave_out=()):
    """Return a drawing as MNIST's makers prepared theirs: shape (28, 28), float32, 0 to 1, ink bright.

    image: grey values, shape (height, width), of any size, with bright ink on an exact 0 of background; uint8 from
        0 to 255 or float from 0 to 1. The part that holds ink is scaled, each new pixel the mean of the area that
        it covers, until the longer side of that part measures 20 pixels; then it is moved by whole pixels so that
        the centre of mass lies in pixel (14, 14), or as near to it as the field allows. No ink gives zeros.
    leave_out: steps of `STEPS` to do without, for seeing what they are worth. Without "invert" the ink is dark on
        bright ground, as on paper; without "scale" the whole image, not its ink, is fitted to the field; without
        "average" a new pixel is the old one in the middle of its area; without "centre" the middle of the part that
        holds ink stays where it was, as a share of the image's height and width.
    Raises ValueError where the image has another shape, type or range, or where there is no such step.
    """
    unknown = set(leave_out) - set(STEPS)
    if unknown or isinstance(leave_out, str):
        raise ValueError(f"leave_out must be a list of {', '.join(STEPS)}, not {leave_out!r}")
    image = np.asarray(image)
    if image.ndim != 2:
        raise ValueError(f"image must have the shape (height, width), not {image.shape}: take one grey channel")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"image must be uint8 (0 to 255) or float (0 to 1), not {image.dtype}")
    brightest = 255 if image.dtype == np.uint8 else 1
    if not ((image >= 0) & (image <= brightest)).all():
        raise ValueError("a float image must hold values from 0 to 1 only: divide it by its greatest value")
    field = np.zeros((FIELD, FIELD), np.float32)
    inked = [np.flatnonzero(image.any(axis=axis)) for axis in (1, 0)]
    if not len(inked[0]):
        return field
    box = tuple(slice(along[0], along[-1] + 1) for along in inked)
    ink = image[box].astype(np.float64)
    scale = FIELD / max(image.shape) if "scale" in leave_out else BOX / max(ink.shape)
    sample = nearest if "average" in leave_out else coverage
    rows, columns = (sample(pixels, scale) for pixels in ink.shape)
    small = rows @ ink @ columns.T / brightest
    place = []
    for axis, cells in enumerate(small.shape):
        if "centre" in leave_out:
            start = int((box[axis].start + box[axis].stop) / (2 * image.shape[axis]) * FIELD - cells / 2 + 0.5)
        else:
            # The sums of 8-bit ink are whole numbers, so the page and Python find the same centre to the last bit.
            centre = ink.sum(1 - axis) @ (2 * np.arange(ink.shape[axis]) + 1) / (2 * ink.sum()) * scale
            start = FIELD // 2 - int(centre)
        start = min(max(start, 0), FIELD - cells)
        place.append(slice(start, start + cells))
    field[tuple(place)] = small.clip(0, 1)
    return 1 - field if "invert" in leave_out else field


def read_network(path=DIGIT_PAD):
    """Return what `experiments/digit_pad.py` stored, as a dictionary of arrays.

    `scales` and `biases`, float32, one for each output of each layer; `kernel_0` to `kernel_3`, int8, of the shapes
    `LAYERS`; `samples`, uint8, shape (n, 28, 28), images of MNIST's test set, with `sample_labels` and
    `sample_indices`, shape (n,).
    Raises OSError where the file is missing or damaged.
    """
    cure = (
        "Get it back with `git checkout -- imagebook/files/digit_pad.npz` (or install imagebook again), "
        "or make it anew with `python experiments/digit_pad.py`."
    )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        samples = len(arrays["samples"])
        expected = {
            "scales": ("<f4", (OUTPUTS,)),
            "biases": ("<f4", (OUTPUTS,)),
            **{f"kernel_{layer}": ("i1", shape) for layer, shape in enumerate(LAYERS)},
            "samples": ("u1", (samples, FIELD, FIELD)),
            "sample_labels": ("u1", (samples,)),
            "sample_indices": ("<u2", (samples,)),
        }
        for name, (dtype, shape) in expected.items():
            if arrays[name].dtype != dtype or arrays[name].shape != shape:
                raise ValueError(f"{name} is {arrays[name].dtype} of shape {arrays[name].shape}")
    except FileNotFoundError:
        raise OSError(f"The network of the drawing pad is missing: there is no {path}. {cure}") from None
    except Exception as error:  # a damaged archive can fail in zipfile, zlib or NumPy, each in its own way
        raise OSError(f"The network of the drawing pad cannot be read from {path} ({error}). {cure}") from None
    return arrays


class DigitPad(anywidget.AnyWidget):
    """Draw a digit, or choose a sample, and watch the article's network read it.

    The network (two convolutions, pooling, two dense layers; weights of 8 bits) runs in the page, so the pad also
    answers in the built book, where there is no kernel. Where there is one, these reach Python after each stroke:

    drawing: what is on the pad, first things first: for a sample its number, for a stroke the list of its
        coordinates [x0, y0, x1, y1, ...] in pixels from the upper left corner; the pad is 280 pixels wide and high.
        May be set from Python too: `DigitPad(drawing=[3])` starts with sample 3.
    leave_out: the steps of `STEPS` that the preparation does without; the reader switches them off and on.
    image: the prepared drawing as bytes of float32; `prepared` is the same as an array, shape (28, 28).
    probabilities: ten floats, those of the digits 0 to 9; none where nothing is drawn.

    path: the file that holds the network. Raises OSError where it is missing or damaged.
    """

    _esm = HERE / "digit_pad.js"
    _css = HERE / "digit_pad.css"
    weights = traitlets.CBytes(help="float32 scales, then float32 biases, then int8 kernels").tag(sync=True)
    shapes = traitlets.List(help="shapes of the kernels").tag(sync=True)
    samples = traitlets.CBytes(help="images of 784 bytes").tag(sync=True)
    sample_labels = traitlets.List(help="the digit that each sample shows").tag(sync=True)
    drawing = traitlets.List(traitlets.Union([traitlets.Int(), traitlets.List(traitlets.Float())])).tag(sync=True)
    leave_out = traitlets.List(traitlets.Enum(STEPS)).tag(sync=True)
    image = traitlets.CBytes().tag(sync=True)
    probabilities = traitlets.List(traitlets.Float()).tag(sync=True)

    def __init__(self, path=DIGIT_PAD, **traits):
        network = read_network(path)
        parts = [network["scales"], network["biases"], *(network[f"kernel_{n}"] for n in range(len(LAYERS)))]
        super().__init__(
            weights=b"".join(part.tobytes() for part in parts),
            shapes=[list(shape) for shape in LAYERS],
            samples=network["samples"].tobytes(),
            sample_labels=network["sample_labels"].tolist(),
            **traits,
        )

    def __repr__(self):
        return f"DigitPad({len(self.sample_labels)} samples)"

    @traitlets.validate("drawing")
    def _check_drawing(self, proposal):
        for item in proposal["value"]:
            if isinstance(item, int) and not 0 <= item < len(self.sample_labels):
                raise traitlets.TraitError(f"there is no sample {item}: choose from 0 to {len(self.sample_labels) - 1}")
            if isinstance(item, list) and (len(item) < 2 or len(item) % 2):
                raise traitlets.TraitError("a stroke is a list [x0, y0, x1, y1, ...] of one point or more")
        return proposal["value"]

    @property
    def prepared(self):
        """The prepared drawing, shape (28, 28), float32, 0 to 1; zeros where nothing is drawn."""
        return np.frombuffer(self.image or bytes(4 * FIELD**2), "<f4").reshape(FIELD, FIELD)
