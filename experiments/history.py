"""What the chapter on history measures: history_runs.csv and history_architectures.csv, beside this file.

    python experiments/history.py runs             about 12 minutes of processor time on one thread
    python experiments/history.py architectures    about 1 minute; needs 2 GB of memory

`runs` trains LeNet-5's stack of layers on MNIST in two dresses, that of 1998 and one of parts published later, with
500, 5,000 or 50,000 training images, for 40, 400 or 4,000 steps of 32 images, three seeds each. The last 10,000
training images are for validation: for each dress, number of images and number of steps the learning rate is the one of
two (three for the shortest runs) with the least mean error on them, over the three seeds (rows of the parts that begin
with "rates"; their test errors are in the file, and nothing was chosen by them). A second part changes the four parts of the dress singly and
together, at 5,000 images and 400 steps, in the same way. A run that is in the file is not run again, so that an
interrupted study goes on where it stopped, and a run that serves two parts is trained once and written twice.

`architectures` builds networks of `keras.applications` with random weights, at the input size of their papers, and
counts their parameters and multiply-accumulates.
"""
import csv
import functools
import itertools
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from imagebook import load_mnist
from imagebook.records import replacing

HERE = Path(__file__).parent
RUNS, ARCHITECTURES = HERE / "history_runs.csv", HERE / "history_architectures.csv"
COLUMNS = ["part", "activation", "pooling", "rule", "dropout", "images", "steps", "seed", "rate"]
COLUMNS += ["validation_error", "test_error", "cpu_seconds"]
IMAGES, STEPS, SEEDS, BATCH_SIZE = (500, 5_000, 50_000), (40, 400, 4_000), (0, 1, 2), 32
OLD, NEW = ("tanh", "average", "SGD", 0.0), ("ReLU", "max", "Adam", 0.5)
RATES = {"SGD": (0.1, 0.2, 0.05), "Adam": (0.005, 0.01, 0.02)}  # the third only for the shortest runs


def squash(x):
    """LeNet-5's activation: a tanh that maps 1 to 1 and -1 to -1."""
    return 1.7159 * keras.ops.tanh(2 / 3 * x)


def make_lenet(activation, pooling, dropout):
    """Return LeNet-5's layers, untrained: images of shape (28, 28, 1), uint8, to ten probabilities."""
    first = {"tanh": "lecun_uniform", "ReLU": "he_uniform"}[activation]
    f = {"tanh": squash, "ReLU": "relu"}[activation]
    pool = {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}[pooling]
    unit = {"activation": f, "kernel_initializer": first}
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Rescaling(1.275 / 255, offset=-0.1),
        layers.Conv2D(6, 5, padding="same", **unit),
        pool(2),
        layers.Conv2D(16, 5, **unit),
        pool(2),
        layers.Conv2D(120, 5, **unit),
        layers.Flatten(),
        layers.Dense(84, **unit),
        layers.Dropout(dropout),
        layers.Dense(10, activation="softmax", kernel_initializer="glorot_uniform"),
    ])


def learning_rate(rule, rate, step, steps):
    """Return the learning rate at a step: LeNet-5's staircase for SGD; for Adam a rise to `rate`, then half a cosine."""
    done = step / steps
    if rule == "SGD":
        stairs = ((0.1, 1.0), (0.25, 0.4), (0.4, 0.2), (0.6, 0.1), (1.0, 0.02))
        return rate * next(factor for end, factor in stairs if done < end)
    return rate * (done / 0.25 if done < 0.25 else (1 + np.cos(np.pi * (done - 0.25) / 0.75)) / 2)


class Schedule(keras.callbacks.Callback):
    def __init__(self, rule, rate, steps):
        super().__init__()
        self.settings = rule, rate, steps

    def on_train_batch_begin(self, batch, logs=None):
        rule, rate, steps = self.settings
        self.model.optimizer.learning_rate = learning_rate(rule, rate, batch, steps)


@functools.cache
def compiled_lenet(dress):
    """Return a compiled network, the same for all runs in a dress: compiling takes longer than a short run."""
    activation, pooling, rule, dropout = dress
    model = make_lenet(activation, pooling, dropout)
    optimizer = keras.optimizers.SGD() if rule == "SGD" else keras.optimizers.Adam()
    model.compile(
        optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], steps_per_execution=4, jit_compile=False
    )
    model.optimizer.build(model.trainable_variables)
    return model


def train(dress, images, labels, steps, rate, seed):
    """Train the network of this dress from the first weights of this seed and return it."""
    activation, pooling, rule, dropout = dress
    model = compiled_lenet(dress)
    keras.utils.set_random_seed(seed)
    model.set_weights(make_lenet(activation, pooling, dropout).get_weights())
    for variable in model.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))
    for layer in model.layers:
        if isinstance(layer, layers.Dropout) and layer.rate:
            layer.seed_generator.state.assign([seed, 0])
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed=seed)
    batches = batches.repeat().batch(BATCH_SIZE).take(steps)
    model.fit(batches, callbacks=[Schedule(rule, rate, steps)], shuffle=False, verbose=0)
    return model


class Study:
    def __init__(self):
        (x, y), test = load_mnist()
        self.data = {"train": (x[:-10_000], y[:-10_000]), "validation": (x[-10_000:], y[-10_000:]), "test": test}
        self.data = {name: (images[..., None], labels) for name, (images, labels) in self.data.items()}
        self.rows = read(RUNS)

    def run(self, part, dress, images, steps, seed, rate):
        """Return the row of this run, from the file or from training; `part` says what the row is used for."""
        key = [str(value) for value in (*dress, images, steps, seed, rate)]
        same = [row for row in self.rows if [row[name] for name in COLUMNS[1 : 1 + len(key)]] == key]
        for row in same:
            if row["part"] == part:
                return row
        if same:
            row = same[0] | {"part": part}
        else:
            started = time.process_time()
            x, y = self.data["train"]
            model = train(dress, x[:images], y[:images], steps, rate, seed)
            errors = []
            for name in ("validation", "test"):
                _, accuracy = model.evaluate(*self.data[name], batch_size=500, verbose=0)
                errors.append(f"{1 - accuracy:.4f}")
            seconds = f"{time.process_time() - started:.1f}"
            row = dict(zip(COLUMNS, [part, *key, *errors, seconds]))
        self.rows.append(row)
        write(RUNS, COLUMNS, self.rows)
        print(*row.values(), flush=True)
        return row

    def best_rate(self, part, dress, images, steps):
        """Return the rate with the least mean error on the validation images, of those that belong to the rule."""
        errors = {
            rate: np.mean([float(self.run(part, dress, images, steps, seed, rate)["validation_error"]) for seed in SEEDS])
            for rate in RATES[dress[2]][: 3 if steps == STEPS[0] else 2]
        }
        return min(errors, key=errors.get)

    def run_all(self):
        for steps, dress, images in itertools.product(STEPS, (OLD, NEW), IMAGES):
            rate = self.best_rate("rates, grid", dress, images, steps)
            for seed in SEEDS:
                self.run("grid", dress, images, steps, seed, rate)
        for dress in itertools.product(*zip(OLD, NEW)):
            rate = self.best_rate("rates, tricks", dress, 5_000, 400)
            for seed in SEEDS:
                self.run("tricks", dress, 5_000, 400, seed, rate)


def count_products(layer):
    """Return a layer's multiply-accumulates for one image; additions of biases and normalisation are not counted."""
    shape = layer.output.shape[1:]
    if isinstance(layer, layers.SeparableConv2D):
        kernel, point = layer.get_weights()[:2]
        return int(np.prod(shape[:2]) * (kernel.size + point.size))
    if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
        return int(np.prod(shape[:2]) * np.prod(layer.kernel.shape))
    if isinstance(layer, layers.Dense):
        return int(np.prod(shape[:-1]) * np.prod(layer.kernel.shape))
    return 0


NETWORKS = {  # the side of the image in the network's paper
    "VGG16": 224, "VGG19": 224, "InceptionV3": 299, "ResNet50": 224, "ResNet152": 224, "Xception": 299,
    "DenseNet169": 224, "MobileNet": 224, "EfficientNetB0": 224, "EfficientNetB7": 600, "ConvNeXtTiny": 224,
    "ConvNeXtBase": 224,
}


def count_all():
    columns = ["network", "side", "parameters", "trainable", "multiply_accumulates"]
    rows = read(ARCHITECTURES)
    for name, side in NETWORKS.items():
        if name in {row["network"] for row in rows}:
            continue
        keras.backend.clear_session()
        model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3))
        work = sum(count_products(layer) for layer in model._flatten_layers(include_self=False))
        trainable = int(sum(np.prod(weight.shape) for weight in model.trainable_weights))
        rows.append(dict(zip(columns, map(str, [name, side, model.count_params(), trainable, work]))))
        del model
        write(ARCHITECTURES, columns, rows)
        print(*rows[-1].values(), flush=True)


def read(path):
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path, columns, rows):
    """Replace the file at once."""
    with replacing(path) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    {"runs": lambda: Study().run_all(), "architectures": count_all}[sys.argv[1]]()
