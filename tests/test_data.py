"""The data load from anywhere, are the original, and fail with a sentence that helps; so do the recorded files."""
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from imagebook import load_mnist
from imagebook.data import MNIST

ROOT = Path(__file__).parent.parent
RECORDS = sorted(path for folder in ("imagebook/files", "experiments", "tests") for path in (ROOT / folder).glob("*.npz"))
NAMES = ["x_train", "y_train", "x_test", "y_test"]


@pytest.fixture(scope="module")
def arrays():
    (x_train, y_train), (x_test, y_test) = load_mnist()
    return dict(zip(NAMES, (x_train, y_train, x_test, y_test)))


def save(folder, arrays):
    path = folder / "mnist.npz"
    np.savez(path, **arrays)
    return path


def test_shapes_and_types_are_those_of_keras(arrays):
    assert [arrays[name].shape for name in NAMES] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert {array.dtype for array in arrays.values()} == {np.dtype("uint8")}
    assert arrays["y_train"][:5].tolist() == [5, 0, 4, 1, 9]


def test_loads_from_another_folder(tmp_path):
    program = "from imagebook import load_mnist; print(load_mnist()[1][0].shape)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(10000, 28, 28)"


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(OSError, match="is missing.*git checkout"):
        load_mnist(tmp_path / "mnist.npz")


@pytest.mark.parametrize("length", [0, 100, 11_000_000])
def test_truncated_file_says_what_to_do(tmp_path, length):
    path = tmp_path / "mnist.npz"
    path.write_bytes(MNIST.read_bytes()[:length])
    with pytest.raises(OSError, match="cannot be read.*git checkout"):
        load_mnist(path)


@pytest.mark.parametrize("name", NAMES)
def test_one_altered_value_is_noticed(tmp_path, arrays, name):
    altered = {**arrays, name: arrays[name].copy()}
    altered[name].flat[-1] ^= 1
    with pytest.raises(OSError, match=f"altered: {name} .*git checkout"):
        load_mnist(save(tmp_path, altered))


def test_another_type_or_shape_is_noticed(tmp_path, arrays):
    with pytest.raises(OSError, match="altered: x_test "):
        load_mnist(save(tmp_path, {**arrays, "x_test": arrays["x_test"].astype(np.int16)}))
    with pytest.raises(OSError, match="altered: y_test "):
        load_mnist(save(tmp_path, {**arrays, "y_test": arrays["y_test"][:-1]}))


def test_missing_array_says_what_to_do(tmp_path, arrays):
    with pytest.raises(OSError, match="cannot be read.*git checkout"):
        load_mnist(save(tmp_path, {name: arrays[name] for name in NAMES[:3]}))


def test_pickles_are_refused(tmp_path, arrays):
    class Boom:
        def __reduce__(self):
            return exec, ("raise SystemExit('a pickle was executed')",)

    with pytest.raises(OSError, match="cannot be read"):
        load_mnist(save(tmp_path, {**arrays, "y_test": np.array([Boom()], dtype=object)}))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_a_recorded_file_is_whole(path):
    # Chapters load these with NumPy alone, which says of a damaged one "Bad CRC-32", but not what to do.
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile and zlib fail each in its own way
        damaged = error
    assert damaged is None, f"{path.name} is damaged ({damaged}): get it back with git checkout -- {path.relative_to(ROOT)}"


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.json")), ids=lambda path: path.name)
def test_a_recorded_table_is_whole(path):
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        pytest.fail(f"{path.name} is damaged ({error}): get it back with git checkout -- experiments/{path.name}")
