"""A kernel that slides over an image: every product, the sum, and the size of what comes out."""
import anywidget
import numpy as np
import traitlets

from .shared import assemble

LIMITS = {"stride": (1, 4), "padding": (0, 4), "dilation": (1, 4)}  # what the sliders of the figure reach
LARGEST_KERNEL, LARGEST_IMAGE = 5, 64


class SlidingKernel(anywidget.AnyWidget):
    """Lay a kernel on an image, move it, and see the products, their sum and the whole output.

    images: dictionary of grey images, name: uint8 array of shape (height, width), at most 64 × 64.
    kernels: dictionary of kernels, name: numbers of shape (height, width), at most 5 × 5.
    choice: what is shown first: "image" and "kernel" (names), "stride", "padding" and "dilation" (numbers);
        by default the first of each, stride 1, no padding, dilation 1.
    place: row and column of the output on which the window stands at first.

    The traits `choice` (without the kernel), `kernel` (its numbers, which the reader can edit) and `place` follow
    what the reader does; setting them moves the figure. Pixels count as brightness from 0 to 1.
    Raises ValueError where an image or a kernel has the wrong shape, and TraitError for a choice out of range.
    """

    _esm, _css = assemble(__file__)
    images = traitlets.List(help="name, height and width of each image").tag(sync=True)
    pixels = traitlets.CBytes(help="uint8, image after image").tag(sync=True)
    kernels = traitlets.List(help="name and rows of each kernel").tag(sync=True)
    limits = traitlets.Dict(LIMITS).tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)
    kernel = traitlets.List().tag(sync=True)
    place = traitlets.List(traitlets.Int(), minlen=2, maxlen=2, default_value=[0, 0]).tag(sync=True)

    def __init__(self, images, kernels, choice=None, **traits):
        if not images or not kernels:
            raise ValueError("SlidingKernel needs at least one image and one kernel.")
        self._images = {name: check_image(name, image) for name, image in images.items()}
        named = {name: check_kernel(kernel, f"kernel {name!r}") for name, kernel in kernels.items()}
        settings = {"image": next(iter(images)), "kernel": next(iter(kernels)), "stride": 1, "padding": 0, "dilation": 1}
        settings |= choice or {}
        first = settings.pop("kernel")
        if first not in named:
            raise ValueError(f"kernel {first!r} is not among {', '.join(named)}")
        sizes = [{"name": name, "height": image.shape[0], "width": image.shape[1]} for name, image in self._images.items()]
        super().__init__(
            images=sizes, pixels=b"".join(image.tobytes() for image in self._images.values()),
            kernels=[{"name": name, "rows": rows} for name, rows in named.items()],
            choice=settings, kernel=traits.pop("kernel", named[first]), **traits)

    def __repr__(self):
        return f"SlidingKernel({len(self.images)} images, {len(self.kernels)} kernels)"

    @traitlets.validate("choice")
    def _in_range(self, proposal):
        """Complete a choice with the present one, and refuse what the figure cannot show."""
        settings = {**self.choice, **proposal["value"]}
        for name, value in settings.items():
            if name == "image":
                if value not in self._images:
                    raise traitlets.TraitError(f"image {value!r} is not among {', '.join(self._images)}")
            elif name not in LIMITS:
                raise traitlets.TraitError(f"{name!r} is no setting: image, {', '.join(LIMITS)} are")
            elif value not in range(LIMITS[name][0], LIMITS[name][1] + 1):
                raise traitlets.TraitError(f"{name} must be a whole number from {LIMITS[name][0]} to {LIMITS[name][1]}, "
                                           f"not {value!r}")
        return settings

    @traitlets.validate("kernel")
    def _is_a_kernel(self, proposal):
        try:
            return check_kernel(proposal["value"], "kernel")
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None

    def output(self):
        """Return what the figure shows as output, float64, shape (rows, columns); an empty array where nothing fits."""
        image = np.pad(self._images[self.choice["image"]] / 255, self.choice["padding"])
        kernel, dilation = np.array(self.kernel), self.choice["dilation"]
        span = [dilation * (size - 1) + 1 for size in kernel.shape]
        if span[0] > image.shape[0] or span[1] > image.shape[1]:
            return np.zeros((0, 0))
        windows = np.lib.stride_tricks.sliding_window_view(image, span)
        windows = windows[:: self.choice["stride"], :: self.choice["stride"], ::dilation, ::dilation]
        return np.einsum("ijuv,uv->ij", windows, kernel)


def check_image(name, image):
    """Return a grey image as uint8, or raise ValueError."""
    image = np.asarray(image)
    if image.ndim != 2 or not 1 <= min(image.shape) or max(image.shape) > LARGEST_IMAGE:
        raise ValueError(f"image {name!r} must have the shape (height, width), at most {LARGEST_IMAGE} each, "
                         f"not {image.shape}")
    if image.dtype != np.uint8:
        raise ValueError(f"image {name!r} must have pixels of type uint8, from 0 to 255, not {image.dtype}")
    return image


def check_kernel(kernel, who):
    """Return a kernel as a list of rows of floats, or raise ValueError."""
    try:
        rows = np.array(kernel, float)
    except (TypeError, ValueError):
        raise ValueError(f"{who} must be rows of equal length, all of numbers") from None
    if rows.ndim != 2 or not 1 <= min(rows.shape) or max(rows.shape) > LARGEST_KERNEL:
        raise ValueError(f"{who} must have the shape (height, width), at most {LARGEST_KERNEL} each, not {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{who} must hold finite numbers")
    return rows.tolist()
