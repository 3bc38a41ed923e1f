"""Train the three networks of the living figure Augmenter and store them: experiments/augmenter.npz.

    python experiments/augmenter.py          about 5 minutes on one core

The small network three times, on the first 55,000 training images for 24 epochs: plainly; with moderate augmentation
(turned by up to 25°, moved by up to 3 pixels, zoomed by up to 15 %, sheared by up to 20°); and turned by any angle.
The last 5,000 training images are for validation; the test set is used once, at the end. What is printed is stored too.
"""
import os
from pathlib import Path

import keras
import numpy as np
from keras import layers

from imagebook import load_mnist
from imagebook.records import write_arrays
from imagebook.studies import ENVIRONMENT, Trainer, small_network
from imagebook.widgets.augmenter import SIDE

HERE = Path(__file__).parent
PATH = HERE / "augmenter.npz"
TRAINING, EPOCHS, BATCH_SIZE, RATE = 55_000, 24, 128, 0.004
SAMPLES = [3, 2, 1, 18, 4, 15, 11, 0, 61, 7, 22, 73]  # of the test set: a plain 0, 1, 2 … 9, a second 6 and a second 9
BLACK = {"fill_mode": "constant", "fill_value": 0.0}
AUGMENTATIONS = {
    "plain": [],
    "moderate": [
        lambda: layers.RandomRotation(25 / 360, **BLACK, seed=1),
        lambda: layers.RandomTranslation(3 / SIDE, 3 / SIDE, **BLACK, seed=2),
        lambda: layers.RandomZoom(0.15, 0.15, **BLACK, seed=3),
        lambda: layers.RandomShear(np.tan(np.deg2rad(20)), 0.0, **BLACK, seed=4),
    ],
    "any": [lambda: layers.RandomRotation(0.5, **BLACK, seed=1)],
}


def train(name, data, epochs=EPOCHS):
    """Return the small network, trained with an augmentation, and its accuracies in validation and test."""
    network = small_network()
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), *(make() for make in AUGMENTATIONS[name]), network])
    trainer = Trainer(model, keras.optimizers.Adam(), data)
    steps = epochs * (len(data[0][0]) // BATCH_SIZE)
    rates = RATE * np.minimum(1, 2 * (1 - np.arange(steps) / steps))  # constant, then linearly down to zero
    result = trainer.run(0, rates, epochs, BATCH_SIZE)
    return network, result["val_accuracy"][-1], result["test_accuracy"]


def main(epochs=EPOCHS, path=PATH):
    (x, y), (x_test, y_test) = load_mnist()
    x, x_test, y = x[..., None], x_test[..., None], y.astype("int32")
    data = (x[:TRAINING], y[:TRAINING]), (x[TRAINING:], y[TRAINING:]), (x_test, y_test.astype("int32"))
    arrays = {"names": np.array(list(AUGMENTATIONS)), "images": x_test[SAMPLES, ..., 0], "labels": y_test[SAMPLES]}
    for name in AUGMENTATIONS:
        network, validation, test = train(name, data, epochs)
        print(f"{name:9} validation {validation:.2%}, test {test:.2%}", flush=True)
        arrays |= {f"{name}_{n}": weights for n, weights in enumerate(network.get_weights())}
        arrays[f"{name}_accuracy"] = np.array([validation, test])
    write_arrays(path, **arrays)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    main()
