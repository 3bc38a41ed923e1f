"""What 99 % costs, in one run: experiments/fast_benchmark.json.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \\
        python experiments/fast_benchmark.py

Three programs, taken in turns so that a busy minute of the machine meets all of them: the article's program with
Adadelta at 1.0, epoch by epoch until its test accuracy is 99 % for the first time; the example mnist_convnet of
keras.io, as it stands there; the recipe of experiments/fast.py, four seeds. All train on the 60,000 training images
(keras.io's example keeps a tenth of them for validation). Then single layers are timed. CPU seconds are those of the whole process
while a program builds, compiles and trains; what it needs to be judged on the test images is not counted, except
where the example validates by itself. About six minutes of one thread. The record is replaced at the end.
"""
import json
import os
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import fast
from digit_pad import article_program
from imagebook import load_mnist
from imagebook.records import replacing
from imagebook.studies import processor

RECORD = Path(__file__).with_suffix(".json")
GOAL, MOST_EPOCHS = 0.99, 12


class Clock:
    """Sums CPU seconds and wall seconds of the blocks that it is put around."""

    def __init__(self):
        self.cpu = self.wall = 0.0

    def __enter__(self):
        self.started = time.process_time(), time.perf_counter()

    def __exit__(self, *error):
        self.cpu += time.process_time() - self.started[0]
        self.wall += time.perf_counter() - self.started[1]

    def read(self):
        return {"cpu_seconds": round(self.cpu, 2), "wall_seconds": round(self.wall, 2)}


def article():
    """Train the article's program epoch by epoch; after each, yield what it has cost and its test accuracy."""
    clock, epoch = Clock(), 0
    with clock:
        keras.utils.set_random_seed(0)
        names = article_program()
        model = names["model"]
        model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.Adadelta(1.0), metrics=["accuracy"])
    while epoch < MOST_EPOCHS:
        with clock:
            model.fit(names["x_train"], names["y_train"], batch_size=128, epochs=1, verbose=0)
        epoch += 1
        accuracy = model.evaluate(names["x_test"], names["y_test"], batch_size=500, verbose=0)[1]
        yield {"program": "article", "epoch": epoch, **clock.read(), "test_accuracy": round(accuracy, 4)}
        if accuracy >= GOAL:
            return


def example(seed):
    """Train the example mnist_convnet of keras.io; return what it has cost."""
    (x, y), (x_test, y_test) = load_mnist()
    clock = Clock()
    with clock:
        keras.utils.set_random_seed(seed)
        x = np.expand_dims(x.astype("float32") / 255, -1)
        y = keras.utils.to_categorical(y, 10)
        model = keras.Sequential([
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"), layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"), layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, activation="softmax"),
        ])  # fmt: skip
        model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
        history = model.fit(x, y, batch_size=128, epochs=15, validation_split=0.1, verbose=0).history
    x_test = np.expand_dims(x_test.astype("float32") / 255, -1)
    accuracy = model.evaluate(x_test, keras.utils.to_categorical(y_test, 10), batch_size=500, verbose=0)[1]
    return {
        "program": "keras.io", "seed": seed, "parameters": model.count_params(), "epochs": 15, **clock.read(),
        "val_accuracy": [round(value, 4) for value in history["val_accuracy"]], "test_accuracy": round(accuracy, 4),
    }  # fmt: skip


def recipe(seed, train_set, test_set):
    """Train the recipe; return what it has cost."""
    model, _, seconds = fast.train(fast.RECIPE | {"images": fast.FINAL_IMAGES}, seed, train_set)
    accuracy = model.evaluate(*test_set, batch_size=500, verbose=0)[1]
    return {"program": "recipe", "seed": seed, "parameters": model.count_params(), **seconds, "test_accuracy": round(accuracy, 4)}


def time_layers(batch_size=64, repeats=15):
    """Return the milliseconds of CPU a batch takes in single layers, forward and with both gradients; the least of the repeats."""
    shapes = [
        ("article", "conv 1", (28, 28, 1), layers.Conv2D(32, 3)),
        ("article", "conv 2", (26, 26, 32), layers.Conv2D(64, 3)),
        ("article", "dense 1", (9216,), layers.Dense(128)),
        ("recipe", "conv 1", (28, 28, 1), layers.Conv2D(16, 5, strides=2, padding="same")),
        ("recipe", "conv 2", (14, 14, 16), layers.Conv2D(32, 3, padding="same")),
        ("recipe", "conv 3", (7, 7, 32), layers.Conv2D(64, 3, padding="same")),
        ("recipe", "dense 1", (576,), layers.Dense(64)),
    ]
    found = []
    for network, name, shape, layer in shapes:
        x = tf.random.normal((batch_size, *shape))
        out = layer(x)
        places = int(np.prod(out.shape[1:-1]))
        products = places * int(np.prod(layer.kernel.shape))

        @tf.function
        def forward(x):
            return tf.reduce_sum(layer(x))

        @tf.function
        def both(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = tf.reduce_sum(layer(x) ** 2)
            return tape.gradient(value, [layer.kernel, layer.bias] + ([x] if len(shape) == 1 or shape[-1] > 1 else []))

        row = {"network": network, "layer": name, "batch_size": batch_size, "products": products}
        for key, function in (("forward_ms", forward), ("both_ms", both)):
            for _ in range(3):
                function(x)
            times = []
            for _ in range(repeats):
                started = time.process_time()
                for _ in range(4):
                    function(x)
                times.append((time.process_time() - started) / 4)
            row[key] = round(1000 * min(times), 3)
        found.append(row)
    return found


def main():
    train_set, test_set = fast.load_arrays()
    runs = []

    def add(run):
        runs.append(run)
        print(run, flush=True)

    load = [os.getloadavg()[0]]
    epochs = article()
    add(recipe(0, train_set, test_set))
    add(next(epochs))
    add(recipe(1, train_set, test_set))
    add(example(0))
    for count, run in enumerate(epochs):
        add(run)
        if count in (0, 2):
            add(recipe(2 + count // 2, train_set, test_set))
    load.append(os.getloadavg()[0])
    record = {
        "about": "the article's program with Adadelta at 1.0, keras.io's mnist_convnet and the recipe, interleaved, one thread",
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": [round(value, 1) for value in load],
        "versions": fast.HEADER["versions"],
        "layers": time_layers(),
        "runs": runs,
    }
    with replacing(RECORD) as beside:
        beside.write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
