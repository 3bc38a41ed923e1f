"""What more than one chapter of the book needs: the data and the look of the figures."""
from .data import load_mnist
from .figures import show_images

__version__ = "0.1.0"
__all__ = ["load_mnist", "show_images"]
