"""MNIST, shipped with the book and proved to be the original."""
import hashlib
from pathlib import Path

import numpy as np

MNIST = Path(__file__).with_name("files") / "mnist.npz"

# The published MD5 of each original IDX file, and the shape it holds. They guard against damage, not against
# malice, and anyone can check them against other copies of the data set.
IDX_FILES = {
    "x_train": ("train-images-idx3-ubyte", (60000, 28, 28), "6bbc9ace898e44ae57da46a324031adb"),
    "y_train": ("train-labels-idx1-ubyte", (60000,), "a25bea736e30d166cdddb491f175f624"),
    "x_test": ("t10k-images-idx3-ubyte", (10000, 28, 28), "2646ac647ad5339dbf082846283269ea"),
    "y_test": ("t10k-labels-idx1-ubyte", (10000,), "27ae3e4e09519cfbb04c329615203637"),
}


def idx_header(shape):
    """Return the bytes that open an IDX file of unsigned bytes of this shape: magic number, then the sizes."""
    return bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)


def is_original(name, array):
    """Say whether `array` is, bit for bit, what the original file of `IDX_FILES[name]` holds."""
    _, shape, md5 = IDX_FILES[name]
    if array.dtype != np.uint8 or array.shape != shape:
        return False
    digest = hashlib.md5(idx_header(shape), usedforsecurity=False)
    digest.update(np.ascontiguousarray(array))
    return digest.hexdigest() == md5


def load_mnist(path=MNIST):
    """Return MNIST as `keras.datasets.mnist.load_data()` does, without a network.

    Returns `(x_train, y_train), (x_test, y_test)`: grey images of shape (60000, 28, 28) and (10000, 28, 28), uint8,
    0 is background and 255 is ink; labels of shape (60000,) and (10000,), uint8, 0 to 9.
    Raises OSError where the file is missing, cut short or altered: the arrays are compared with the MD5 of the
    original files (Y. LeCun, C. Cortes, C. Burges; CC BY-SA 3.0).
    """
    cure = (
        "Get it back with `git checkout -- imagebook/files/mnist.npz` (or install imagebook again), "
        "or make it anew with `python scripts/make_mnist.py`."
    )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in IDX_FILES}
    except FileNotFoundError:
        raise OSError(f"MNIST is missing: there is no {path}. {cure}") from None
    except Exception as error:  # a damaged archive can fail in zipfile, zlib or NumPy, each in its own way
        raise OSError(f"MNIST cannot be read from {path} ({error}). {cure}") from None
    altered = [name for name, array in arrays.items() if not is_original(name, array)]
    if altered:
        raise OSError(f"MNIST is altered: {', '.join(altered)} in {path} is not the original data. {cure}")
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
