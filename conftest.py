"""Give the kernels of `pytest --nbval` the book's settings, with or without the Makefile."""
import os
from pathlib import Path

os.environ["IPYTHONDIR"] = str(Path(__file__).parent / "ipython")
