"""Draw images/cover.png: a digit, its maps after two convolutions of a small trained network, and the answer.

    python scripts/draw_cover.py            half a minute
"""
from pathlib import Path

import keras
import matplotlib.pyplot as plt
from keras import layers

from imagebook import load_mnist

COVER = Path(__file__).parent.parent / "images" / "cover.png"
INK, PAPER = "#e8e8e8", "#101418"  # dark on every page, like the digits themselves


def train(images, labels):
    """Return the article's network after one pass over 20,000 images with Adam."""
    network = keras.Sequential([
        keras.Input((28, 28)), layers.Rescaling(1 / 255), layers.Reshape((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"), layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Dropout(0.25), layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ])
    network.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    network.fit(images[:20_000], labels[:20_000], batch_size=64, verbose=0)
    return network


def draw(network, image):
    """Return the cover as a figure: image, eight maps of each convolution, ten bars."""
    steps, hidden = [], image[None]
    for layer in network.layers:
        hidden = layer(hidden)
        steps.append(hidden.numpy()[0])
    figure = plt.figure(figsize=(10, 3.1), facecolor=PAPER)
    whole, first, second, answer = figure.subfigures(1, 4, width_ratios=[2.4, 2.6, 2.6, 2.4], wspace=0.06)
    for part in (whole, first, second, answer):
        part.set_facecolor(PAPER)
    axis = whole.subplots()
    axis.imshow(image, cmap="gray")
    axis.axis("off")
    for part, maps in ((first, steps[2]), (second, steps[3])):
        busiest = maps.std(axis=(0, 1)).argsort()[::-1][:9]
        for axis, channel in zip(part.subplots(3, 3).flat, sorted(busiest)):
            axis.imshow(maps[..., channel], cmap="viridis", vmin=0)
            axis.axis("off")
    axis = answer.subplots()
    axis.set_facecolor(PAPER)
    axis.barh(range(10), steps[-1], color="#56b4e9")
    axis.set(yticks=range(10), xticks=[], xlim=(0, 1))
    axis.invert_yaxis()
    axis.tick_params(colors=INK, length=0, labelsize=12)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure


def main():
    plt.style.use("imagebook.book")
    keras.utils.set_random_seed(0)
    (x_train, y_train), (x_test, _) = load_mnist()
    COVER.parent.mkdir(exist_ok=True)
    draw(train(x_train, y_train), x_test[0]).savefig(COVER, dpi=160)


if __name__ == "__main__":
    main()
