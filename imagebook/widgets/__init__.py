"""Living figures: live in JupyterLab, and without a kernel in the built page. They need the package anywidget."""
from .run_explorer import RunExplorer

__all__ = ["RunExplorer"]
