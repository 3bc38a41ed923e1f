"""Which change makes the article's program fast, and how fast: experiments/fast.json.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \\
        python experiments/fast.py

Five sets of runs, all on the processor, one thread. *ladder*: from the article's network and training to the recipe,
one change a rung. *without*: the recipe with one change taken back. *near*: the recipe with one of its numbers
changed. *length*: the recipe with fewer or more images. All of these train on the first 50,000 training images and
are judged on the other 10,000; none sees a test image. Where several learning rates stand for one name, seeds 0 and 1
are run with each, and the further seeds with the rate whose mean validation accuracy is highest. *final*: the recipe,
frozen, on all 60,000 training images; the test images are looked at once a run, after the last update.

CPU seconds are those of building, compiling and training the network; looking at validation or test images in between
is not counted. A run that is in the record is not run again. All runs take about 18 minutes of one thread.
"""
import math
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from imagebook import load_mnist
from imagebook.records import read_runs, write_runs

RECORD = Path(__file__).with_suffix(".json")
VALIDATION, LOOK_EVERY = 10_000, 25_000
RECIPE = {
    "network": "small", "optimizer": "Adam", "schedule": "one-cycle", "rate": 0.007, "warm": 0.25, "batch_size": 64,
    "pixels": "standardised", "smoothing": 0.06, "steps_per_call": 30, "images": 75_000,
}  # fmt: skip
FINAL_IMAGES = 90_000  # one and a half epochs of 60,000, as 75,000 are of 50,000
MEAN, DEVIATION = 0.1307, 0.3081  # of the pixels of the 60,000 training images, divided by 255
NETWORKS = {
    "small": {"maps": (16, 32, 64), "units": 64, "stride": 2},
    "12 maps first": {"maps": (12, 32, 64), "units": 64, "stride": 2},
    "narrow": {"maps": (16, 24, 32), "units": 64, "stride": 2},
    "wide": {"maps": (24, 48, 64), "units": 64, "stride": 2},
    "stride 1": {"maps": (16, 32, 64), "units": 64, "stride": 1},
}
PLAIN = RECIPE | {"pixels": "0 to 1", "smoothing": 0.0, "steps_per_call": 1, "batch_size": 128}
STEADY = PLAIN | {"schedule": "constant", "warm": 0.0, "images": 150_000}
# set, name, settings, learning rates to choose from, number of seeds
PLAN = [
    ("ladder", "calls of 30 steps", RECIPE, [0.007], 5),  # the recipe itself
    ("near", "peak 0.0035", RECIPE, [0.0035], 3),
    ("near", "peak 0.014", RECIPE, [0.014], 3),
    ("near", "peak after 10 %", RECIPE | {"warm": 0.1}, [0.007], 3),
    ("near", "smoothing 0.12", RECIPE | {"smoothing": 0.12}, [0.007], 3),
    ("near", "12 maps first", RECIPE | {"network": "12 maps first"}, [0.007], 3),
    ("near", "narrow", RECIPE | {"network": "narrow"}, [0.007], 3),
    ("near", "wide", RECIPE | {"network": "wide"}, [0.007], 3),
    ("final", "the recipe", RECIPE | {"images": FINAL_IMAGES}, [0.007], 10),
    ("without", "label smoothing", RECIPE | {"smoothing": 0.0}, [0.007], 5),
    ("without", "standardised pixels", RECIPE | {"pixels": "0 to 1"}, [0.007], 5),
    ("without", "batches of 64", RECIPE | {"batch_size": 128}, [0.007, 0.012], 5),
    ("without", "one-cycle rate", RECIPE | {"schedule": "constant", "warm": 0.0}, [0.001, 0.002, 0.004], 5),
    ("without", "Adam", RECIPE | {"optimizer": "Adadelta"}, [1.0, 3.0], 5),
    ("without", "stride 2", RECIPE | {"network": "stride 1"}, [0.007], 3),
    ("without", "calls of 30 steps", RECIPE | {"steps_per_call": 1}, [0.007], 3),
    ("ladder", "small network", STEADY | {"optimizer": "Adadelta"}, [1.0], 2),
    ("ladder", "Adam", STEADY, [0.001, 0.002], 2),
    ("ladder", "one-cycle rate", PLAIN, [0.007, 0.012], 3),
    ("ladder", "batches of 64", PLAIN | {"batch_size": 64}, [0.007], 3),
    ("ladder", "standardised pixels", PLAIN | {"batch_size": 64, "pixels": "standardised"}, [0.007], 3),
    ("ladder", "label smoothing", RECIPE | {"steps_per_call": 1}, [0.007], 3),
    ("length", "25,000 images", RECIPE | {"images": 25_000}, [0.007], 3),
    ("length", "50,000 images", RECIPE | {"images": 50_000}, [0.007], 3),
    ("length", "150,000 images", RECIPE | {"images": 150_000}, [0.007], 3),
    ("without", "one-cycle rate, averaged", RECIPE | {"schedule": "averaged", "warm": 0.0}, [0.002, 0.004], 3),
    ("without", "small network", RECIPE | {"network": "article"}, [0.002], 2),
]
HEADER = {
    "about": "MNIST on one thread of a processor: 50,000 training images, 10,000 for validation; final: 60,000, and the test",
    "recipe": RECIPE,
    "final_images": FINAL_IMAGES,
    "networks": NETWORKS,
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly to its peak and falls linearly to zero."""

    def __init__(self, peak, updates, warm):
        self.peak, self.updates, self.warm = peak, updates, warm

    def __call__(self, step):
        done = keras.ops.cast(step, "float32") / self.updates
        return self.peak * keras.ops.minimum(done / self.warm, (1 - done) / (1 - self.warm))


def make_network(network="small", pixels="standardised"):
    """Return the untrained network: images (28, 28, 1), uint8, to ten logits."""
    standard = layers.Rescaling(1 / (255 * DEVIATION), -MEAN / DEVIATION)
    first = [keras.Input((28, 28, 1)), standard if pixels == "standardised" else layers.Rescaling(1 / 255)]
    if network == "article":
        return keras.Sequential([
            *first, layers.Conv2D(32, 3, activation="relu"), layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(), layers.Dropout(0.25), layers.Flatten(), layers.Dense(128, activation="relu"),
            layers.Dropout(0.5), layers.Dense(10),
        ])  # fmt: skip
    shape = NETWORKS[network]
    edges, parts, wholes = shape["maps"]
    return keras.Sequential([
        *first,
        layers.Conv2D(edges, 5, strides=shape["stride"], padding="same", activation="relu"),
        layers.Conv2D(parts, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(wholes, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(shape["units"], activation="relu"), layers.Dense(10),
    ])  # fmt: skip


def compile_network(settings):
    """Return the network of these settings, ready to train."""
    model = make_network(settings["network"], settings["pixels"])
    rate = settings["rate"]
    if settings["schedule"] == "one-cycle":
        rate = OneCycle(rate, settings["images"] // settings["batch_size"], settings["warm"])
    averaged = {"use_ema": True, "ema_momentum": 0.99} if settings["schedule"] == "averaged" else {}
    model.compile(
        optimizer=getattr(keras.optimizers, settings["optimizer"])(rate, **averaged),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings["smoothing"]),
        metrics=["accuracy"],
        steps_per_execution=settings["steps_per_call"],
    )
    return model


def draw_order(many, images, seed):
    """Return the numbers of the images to show: whole epochs, each in an order of its own, and a last one cut short."""
    random = np.random.default_rng(seed)
    return np.concatenate([random.permutation(many) for _ in range(math.ceil(images / many))])[:images]


def train(settings, seed, train_set, look_at=None, look_every=None):
    """Train once; return the model, the curves, and the CPU seconds and wall seconds that it took.

    look_at: images and one-hot labels on which the model is judged after every `look_every` images, uncounted.
    Where weights are averaged, Keras puts the means in place when `fit` ends: then look only once.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    x, y = train_set
    started, wall = time.process_time(), time.perf_counter()
    model = compile_network(settings)
    order = draw_order(len(x), settings["images"], seed)
    many = look_every // settings["batch_size"] * settings["batch_size"] if look_every else len(order)
    pieces = [order[i : i + many] for i in range(0, len(order), many)]
    pieces = [piece for piece in pieces if len(piece) >= 20 * settings["batch_size"]]  # a rest of a few batches is left out
    curves = {key: [] for key in ["images", "cpu_seconds_at", "loss", "accuracy", "val_loss", "val_accuracy"]}
    apart = apart_wall = 0
    for piece in pieces:
        whole = len(piece) // settings["batch_size"] * settings["batch_size"]
        history = model.fit(x[piece[:whole]], y[piece[:whole]], batch_size=settings["batch_size"], shuffle=False, verbose=0).history
        if look_at is not None:
            paused, paused_wall = time.process_time(), time.perf_counter()
            judged = model.evaluate(*look_at, batch_size=500, verbose=0)
            curves["images"].append(whole + (curves["images"] or [0])[-1])
            curves["cpu_seconds_at"].append(round(paused - started - apart, 2))
            for key, value in zip(["loss", "accuracy", "val_loss", "val_accuracy"], [history["loss"][0], history["accuracy"][0], *judged]):
                curves[key].append(round(float(value), 5))
            apart += time.process_time() - paused
            apart_wall += time.perf_counter() - paused_wall
    seconds = {
        "cpu_seconds": round(time.process_time() - started - apart, 2),
        "wall_seconds": round(time.perf_counter() - wall - apart_wall, 2),
    }
    return model, curves, seconds


def load_arrays():
    """Return the training and the test set, uint8 images (n, 28, 28, 1) and float32 one-hot labels (n, 10)."""
    return [(x[..., None], np.eye(10, dtype="float32")[y]) for x, y in load_mnist()]


def main():
    runs = read_runs(RECORD, HEADER)
    (x, y), test = load_arrays()
    shown, held = (x[:-VALIDATION], y[:-VALIDATION]), (x[-VALIDATION:], y[-VALIDATION:])
    done = {(run["set"], run["name"], run["rate"], run["seed"]): run for run in runs}

    def ensure(part, name, settings, seed):
        """Return the validation accuracy at the end (of the frozen recipe: nothing); train only if no record has it."""
        key = part, name, settings["rate"], seed
        if key not in done:
            done[key] = {"set": part, "name": name, **settings, "seed": seed}
            if part == "final":
                model, curves, seconds = train(settings, seed, (x, y))
                curves = {"test_accuracy": round(model.evaluate(*test, batch_size=500, verbose=0)[1], 4)}
            else:
                every = None if settings["schedule"] == "averaged" else LOOK_EVERY
                model, curves, seconds = train(settings, seed, shown, held, every)
            done[key] |= {"parameters": model.count_params(), **curves, **seconds}
            runs.append(done[key])
            write_runs(RECORD, HEADER, runs)
            print(*key, curves.get("val_accuracy", curves), seconds["cpu_seconds"], flush=True)
        return done[key].get("val_accuracy", [0])[-1]

    for part, name, settings, rates, seeds in PLAN:
        best = rates[0]
        if len(rates) > 1:
            best = max(rates, key=lambda rate: sum(ensure(part, name, settings | {"rate": rate}, seed) for seed in (0, 1)))
        for seed in range(seeds):
            ensure(part, name, settings | {"rate": best}, seed)


if __name__ == "__main__":
    main()
