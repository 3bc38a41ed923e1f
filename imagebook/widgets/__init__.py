"""Living figures: widgets in JupyterLab, and figures that answer in the built page, where there is no kernel."""
from .digit_pad import DigitPad, prepare_drawing
from .run_explorer import RunExplorer

__all__ = ["DigitPad", "RunExplorer", "prepare_drawing"]
