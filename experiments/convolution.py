"""Train small CNNs that halve their maps in different ways, then shift the test images: experiments/convolution.json.

    python experiments/convolution.py             all 33 runs of three seeds
    python experiments/convolution.py --seeds 5   further seeds, added to those recorded

All convolutions wrap round the image, and so do all shifts, so that borders play no part and what is measured is the
effect of the halving alone. Training images are the first 10,000 of MNIST's training set; the learning rate was chosen
beforehand on its last 2,000, with max pooling and a global average, from 0.002, 0.006 and 0.01. The 10,000 test
images are read once a run as they are and once for each of four shifts to the right. A run that is in the record is
not run again. Set TF_NUM_INTRAOP_THREADS=1 for times that compare.
"""
import argparse
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from imagebook import load_mnist
from imagebook.records import read_runs, write_runs

RECORD = Path(__file__).with_suffix(".json")
IMAGES, EPOCHS, BATCH_SIZE, RATE, WARMING = 10_000, 6, 64, 1e-2, 60
SHIFTS = [1, 2, 3, 4]
HALVINGS = {
    "global": ["stride", "max", "average", "stride, blur 3", "max, blur 3", "max, blur 5", "max, shifted training"],
    "flatten": ["stride", "max", "max, blur 5", "max, shifted training"],
}
HEADER = {
    "about": "how often a one-pixel shift of a test image changes the answer of a small CNN, by the way it halves",
    "model": "three convolutions 3×3, 16, 32, 64 maps, ReLU, wrapped; two halvings; global average or flatten; dense 10",
    "images": IMAGES,
    "epochs": EPOCHS,
    "batch_size": BATCH_SIZE,
    "learning_rate": f"Adam, {WARMING} steps up to {RATE}, then down along a cosine",
    "shifts": SHIFTS,
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


def wrap(maps, before, after):
    """Return maps, shape (batch, height, width, channels), continued round the grid: `before` up and left."""
    for axis in (1, 2):
        sides = (slice(None),) * axis
        end = maps.shape[axis]
        maps = ops.concatenate([maps[*sides, end - before:], maps, maps[*sides, :after]], axis=axis)
    return maps


def blur(maps, size):
    """Return every second place of wrapped maps after a binomial kernel of 3 or 5 places (Zhang 2019)."""
    row = {3: [1, 2, 1], 5: [1, 4, 6, 4, 1]}[size]
    kernel = np.outer(row, row) / np.sum(row) ** 2
    kernel = np.repeat(kernel[..., None, None], maps.shape[-1], axis=2).astype("float32")
    return ops.depthwise_conv(wrap(maps, size // 2, size // 2), kernel, strides=2, padding="valid")


def make_model(halving, head):
    """Return the untrained network: images of shape (28, 28, 1), uint8, to ten probabilities."""
    image = keras.Input((28, 28, 1))
    maps = layers.Rescaling(1 / 255)(image)
    for index, filters in enumerate((16, 32, 64)):
        stride = 2 if halving == "stride" and index < 2 else 1
        maps = layers.Conv2D(filters, 3, strides=stride, activation="relu")(wrap(maps, 1, 1))
        if index < 2:
            maps = halve(maps, halving)
    maps = layers.GlobalAveragePooling2D()(maps) if head == "global" else layers.Flatten()(maps)
    return keras.Model(image, layers.Dense(10, activation="softmax")(maps))


def halve(maps, halving):
    """Return the maps with half as many places along each side, or as they are where the convolution has a stride."""
    if halving.startswith("max"):
        if "blur" not in halving:
            return ops.max_pool(maps, 2)
        maps = ops.max_pool(wrap(maps, 0, 1), 2, strides=1)
    if halving == "average":
        return ops.average_pool(maps, 2)
    return blur(maps, int(halving[-1])) if "blur" in halving else maps


def load_data():
    """Return (images, labels) for training and for test; images of shape (n, 28, 28, 1), uint8."""
    (x_train, y_train), (x_test, y_test) = load_mnist()
    return (x_train[:IMAGES, ..., None], y_train[:IMAGES]), (x_test[..., None], y_test)


def read(model, images, batch_size=500):
    """Return the answers, shape (n,), to images of shape (n, 28, 28, 1)."""
    return model.predict(images, batch_size=batch_size, verbose=0).argmax(axis=1)


class Study:
    """One compiled model for all runs of a network: compiling anew would take longer than training."""

    def __init__(self, halving, head, data):
        self.halving, self.head, self.data = halving, head, data
        self.model = make_model(halving, head)
        steps = EPOCHS * -(-IMAGES // BATCH_SIZE)
        rate = keras.optimizers.schedules.CosineDecay(
            RATE / 10, steps - WARMING, warmup_target=RATE, warmup_steps=WARMING
        )
        self.model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        self.model.optimizer.build(self.model.trainable_variables)
        self.start = [variable.numpy() for variable in self.model.optimizer.variables]

    def train(self, seed):
        """Train from the first weights of this seed; with "shifted training" each image moves anew in each epoch."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(make_model(self.halving, self.head).get_weights())
        for variable, value in zip(self.model.optimizer.variables, self.start):
            variable.assign(value)
        images, labels = self.data[0]
        random = np.random.default_rng(seed)
        for _ in range(EPOCHS):
            seen = images
            if "shifted" in self.halving:
                moves = random.integers(-2, 3, (len(images), 2))
                seen = np.stack([np.roll(image, move, (0, 1)) for image, move in zip(images, moves)])
            self.model.fit(seen, labels, batch_size=BATCH_SIZE, verbose=0)

    def run(self, seed):
        """Train once and return what the record holds of it; lists follow the order of SHIFTS."""
        started = time.process_time()
        self.train(seed)
        seconds = time.process_time() - started
        images, labels = self.data[1]
        answers = read(self.model, images)
        changed, accuracy = [], []
        for shift in SHIFTS:
            found = read(self.model, np.roll(images, shift, axis=2))
            changed.append(int(np.sum(found != answers)))
            accuracy.append(round(float(np.mean(found == labels)), 4))
        return {
            "test_accuracy": round(float(np.mean(answers == labels)), 4),
            "changed_of_10000": changed,
            "shifted_accuracy": accuracy,
            "parameters": self.model.count_params(),
            "cpu_seconds": round(seconds, 1),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 (default: %(default)s)")
    seeds = range(parser.parse_args().seeds)
    runs = read_runs(RECORD, HEADER)
    done = {(run["halving"], run["head"], run["seed"]) for run in runs}
    data = load_data()
    for head in HALVINGS:
        for halving in HALVINGS[head]:
            missing = [seed for seed in seeds if (halving, head, seed) not in done]
            study = Study(halving, head, data) if missing else None
            for seed in missing:
                runs.append({"halving": halving, "head": head, "seed": seed, **study.run(seed)})
                write_runs(RECORD, HEADER, runs)
                print(*list(runs[-1].values()), sep="  ", flush=True)


if __name__ == "__main__":
    main()
