"""Figures that look alike. The style itself is `book.mplstyle`: `plt.style.use("imagebook.book")`."""
import matplotlib.pyplot as plt
import numpy as np


def show_images(images, labels=(), columns=None, cmap="gray", limits=None, width=6.4):
    """Draw images of equal size in a grid and return the figure.

    images: array of shape (n, height, width) or (n, height, width, 1), or a list of such images.
    labels: one short text under each image (digits, symbols), or none.
    limits: the values drawn at the two ends of `cmap`, the same for all; by default the least and the greatest.
    width: of the figure, in inches.
    Raises ValueError where there is nothing to draw, or labels that do not match the images.
    """
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim != 3 or not len(images):
        raise ValueError(f"images must have the shape (n, height, width) with n > 0, not {images.shape}")
    if len(labels) not in (0, len(images)):
        raise ValueError(f"{len(labels)} labels for {len(images)} images")
    low, high = limits or (images.min(), images.max())
    columns = columns or min(len(images), 10)
    rows = -(-len(images) // columns)
    cell = width / columns
    height = cell * images.shape[1] / images.shape[2] + (0.22 if len(labels) else 0)
    figure, axes = plt.subplots(rows, columns, figsize=(width, rows * height), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for index, (axis, image) in enumerate(zip(axes.flat, images)):
        axis.imshow(image, cmap=cmap, vmin=low, vmax=high)
        if len(labels):
            axis.text(0.5, -0.04, str(labels[index]), transform=axis.transAxes, ha="center", va="top")
    return figure
