"""What more than one chapter needs: here the data and the look of the figures; `studies`, `records` and `widgets` are imported by name."""
from .data import load_mnist
from .figures import show_images

__version__ = "0.1.0"
__all__ = ["load_mnist", "show_images"]
