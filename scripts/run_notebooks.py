"""Execute notebooks in place, so that what they store is what they do: `make run CHAPTER=…`.

Stores outputs and widget state, without timings or the traces of a machine. A notebook that fails stays as it was.
"""
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

ROOT = Path(__file__).parent.parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def run(path):
    """Execute one notebook with the book's kernel settings and replace the file when all of it has run."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.clear()
    notebook.metadata.update(METADATA)
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=True,
        coalesce_streams=True,  # a progress bar leaves its last state, not all of them
        resources={"metadata": {"path": path.parent}},
        on_cell_execute=lambda cell, cell_index: print(f"\r{path}: cell {cell_index + 1} of {len(notebook.cells)} ", end="", flush=True),
    )
    started = time.monotonic()
    client.execute()
    notebook.metadata["language_info"] = METADATA["language_info"]  # the kernel adds its exact version
    beside = path.with_suffix(f".{os.getpid()}.partial")  # a name of its own: two may execute one notebook
    try:
        nbformat.write(notebook, beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)  # half a file would fill the rest of a full disk
    print(f"\r{path}: {len(notebook.cells)} cells in {time.monotonic() - started:.0f} s")


def main():
    if len(sys.argv) < 2:
        sys.exit("Which notebook? make run CHAPTER=chapters/mnist/walkthrough.ipynb")
    os.environ["IPYTHONDIR"] = str(ROOT / "ipython")
    for name in sys.argv[1:]:
        if not Path(name).is_file():
            sys.exit(f"There is no notebook {name}.")
        try:
            run(Path(name))
        except (CellExecutionError, DeadKernelError, OSError) as error:
            sys.exit(f"\n{name} stopped and is left as it was:\n{error}")
        except (AssertionError, KeyboardInterrupt):  # the first is what nbclient makes of Ctrl-C in a cell
            sys.exit(f"\n{name} was interrupted and is left as it was.")


if __name__ == "__main__":
    main()
