"""`make run` replaces a notebook whole or not at all, and says which."""
import importlib.util
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import DeadKernelError

SCRIPT = Path(__file__).parent.parent / "scripts" / "run_notebooks.py"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", "")  # which the script sets: it is put back
    spec = importlib.util.spec_from_file_location("run_notebooks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    path = tmp_path / "seven.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("6 + 1")]), path)
    monkeypatch.setattr(sys, "argv", ["run_notebooks.py", str(path)])
    return path


def test_an_executed_notebook_takes_the_place_of_the_old_one(script, notebook):
    script.main()
    assert nbformat.read(notebook, 4).cells[0].outputs[0].data["text/plain"] == "7"
    assert list(notebook.parent.iterdir()) == [notebook]


def test_a_full_disk_leaves_the_notebook_and_nothing_beside_it(script, notebook, monkeypatch):
    def write(content, path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    before = notebook.read_bytes()
    monkeypatch.setattr(script.NotebookClient, "execute", lambda client: None)
    monkeypatch.setattr(script.nbformat, "write", write)
    with pytest.raises(SystemExit, match="is left as it was:\n.*No space left on device"):
        script.main()
    assert notebook.read_bytes() == before and list(notebook.parent.iterdir()) == [notebook]


@pytest.mark.parametrize("error, said", [
    (KeyboardInterrupt(), "was interrupted and is left"), (AssertionError(), "was interrupted and is left"),
    (DeadKernelError("Kernel died"), "stopped and is left as it was:\nKernel died"),
])
def test_an_interrupted_notebook_is_left_as_it_was(script, notebook, monkeypatch, error, said):
    def execute(client):
        raise error

    before = notebook.read_bytes()
    monkeypatch.setattr(script.NotebookClient, "execute", execute)
    with pytest.raises(SystemExit, match=said):
        script.main()
    assert notebook.read_bytes() == before


def test_a_notebook_that_is_not_there_is_named(script, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_notebooks.py", "none.ipynb"])
    with pytest.raises(SystemExit, match="There is no notebook none.ipynb"):
        script.main()
