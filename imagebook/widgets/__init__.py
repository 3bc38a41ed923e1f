"""Living figures: widgets in JupyterLab, and figures that answer in the built page, where there is no kernel."""
from .adversarial_game import AdversarialGame
from .augmenter import Augmenter
from .decision_boundary import DecisionBoundary
from .digit_pad import DigitPad, prepare_drawing
from .digit_writer import DigitWriter
from .jacobian_product import JacobianProduct
from .quadratic_descent import QuadraticDescent
from .run_explorer import RunExplorer
from .row_reader import RowReader
from .sliding_kernel import SlidingKernel
from .train_it import TrainIt

__all__ = ["AdversarialGame", "Augmenter", "DecisionBoundary", "DigitPad", "DigitWriter", "JacobianProduct", "QuadraticDescent", "RowReader", "RunExplorer", "SlidingKernel", "TrainIt", "prepare_drawing"]
