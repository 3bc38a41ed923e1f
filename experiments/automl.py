"""A hundred and fifty settings drawn from a space of twelve, each trained with two seeds: experiments/automl.jsonl.

    python experiments/automl.py --workers 2

Every network of the space is as wide as the small network's parameters and arithmetic allow, and no wider; a setting
is drawn by its number alone. The record is a table on which searches can be replayed. See chapter `automl`.
"""
import functools
import time

import keras
import numpy as np
from keras import layers

from imagebook.studies import Study, Trainer, multiply_accumulates, short

EPOCHS, NUMBERS = 9, 150
PARAMETERS, PRODUCTS = 5386, 148_000  # of the small network
SPACE = {  # lists are choices, pairs are ranges; the learning rate is drawn by its logarithm
    "kernel": [3, 5, 7], "stride": [2, 3], "convolutions": [1, 2, 3], "growth": [1, 2],
    "pooling": ["max", "average"], "head": ["flatten", "average"], "activation": ["relu", "silu", "tanh"],
    "normalise": [0, 1], "dropout": (0.0, 0.5), "optimizer": ["SGD", "RMSprop", "Adam"],
    "learning_rate": (1e-4, 1.0), "batch_size": [32, 64, 128, 256],
}
# The small network of imagebook.studies, as a point of the space; its optimizer is the one that its study chose.
HAND = {
    "kernel": 5, "stride": 2, "convolutions": 2, "growth": 2, "pooling": "max", "head": "flatten",
    "activation": "relu", "normalise": 0, "dropout": 0.0, "optimizer": "RMSprop", "learning_rate": 0.005,
    "batch_size": 64,
}
OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(momentum=0.9),
    "RMSprop": lambda: keras.optimizers.RMSprop(),
    "Adam": lambda: keras.optimizers.Adam(),
}


def draw(number):
    """Return the setting with this number, a dictionary with one value for each name of the space."""
    random, drawn = np.random.default_rng([2026, number]), {}
    for name, values in SPACE.items():
        if name == "learning_rate":
            drawn[name] = short(10 ** random.uniform(*np.log10(values)))
        elif isinstance(values, tuple):
            drawn[name] = round(float(random.uniform(*values)), 3)
        else:
            drawn[name] = values[random.integers(len(values))]
    return drawn


def size(setting, width):
    """Return the parameters, and the products for one image, of the network with so many maps in its first layer."""
    side, channels, parameters, products = 28, 1, 0, 0
    for number in range(setting["convolutions"]):
        kernel, stride = (setting["kernel"], setting["stride"]) if number == 0 else (3, 1)
        filters = width * setting["growth"] ** number
        side = (side - kernel) // stride + 1
        parameters += (kernel**2 * channels + 1 + 4 * setting["normalise"]) * filters
        products += side**2 * kernel**2 * channels * filters
        channels = filters
    features = channels * ((side // 2) ** 2 if setting["head"] == "flatten" else 1)
    return parameters + 10 * (features + 1), products + 10 * features


def widest(setting):
    """Return the largest width within the limits, at least 1."""
    width = 1
    while size(setting, width + 1)[0] <= PARAMETERS and size(setting, width + 1)[1] <= PRODUCTS:
        width += 1
    return width


def network(setting):
    """Return a new network for this setting, from images, uint8, to logits."""
    width, parts = widest(setting), [keras.Input((28, 28, 1)), layers.Rescaling(1 / 255)]
    for number in range(setting["convolutions"]):
        kernel, stride = (setting["kernel"], setting["stride"]) if number == 0 else (3, 1)
        parts.append(layers.Conv2D(width * setting["growth"] ** number, kernel, strides=stride))
        parts += [layers.BatchNormalization()] * setting["normalise"]
        parts.append(layers.Activation(setting["activation"]))
    parts.append(layers.MaxPooling2D(2) if setting["pooling"] == "max" else layers.AveragePooling2D(2))
    parts.append(layers.Flatten() if setting["head"] == "flatten" else layers.GlobalAveragePooling2D())
    parts += [layers.Dropout(setting["dropout"])] if setting["dropout"] else []
    return keras.Sequential([*parts, layers.Dense(10)])


@functools.lru_cache(maxsize=2)
def compiled(*values):
    """Return a trainer of this network and optimizer, and the CPU seconds that compiling it took."""
    setting, started = dict(zip(SPACE, values)), time.process_time()
    keras.backend.clear_session()  # nothing of the networks before is needed
    trainer = Trainer(network(setting), OPTIMIZERS[setting["optimizer"]]())
    trainer.evaluate(*trainer.validation)
    return trainer, time.process_time() - started


def trainer_of(setting):
    """Return the trainer for a setting; those that differ in rate and batch size share one."""
    shared = {**setting, "learning_rate": 0, "batch_size": 0}
    return compiled(*(shared[name] for name in SPACE))


def start(trainer, seed):
    """Draw the first weights by the seed, and begin anew the random numbers of dropout."""
    trainer.start(seed)
    for layer in trainer.model.layers:
        if isinstance(layer, layers.Dropout):
            layer.seed_generator.state.assign([seed, 0])


def train(setting, seed, rates=None, epochs=EPOCHS):
    """Train this setting from the beginning and return what there is to know about it."""
    trainer, compiling = trainer_of(setting)
    start(trainer, seed)
    rates = setting["learning_rate"] if rates is None else rates
    curves = trainer.fit(seed, rates, epochs, setting["batch_size"])
    return {
        "val_accuracy": curves["val_accuracy"], "test_accuracy": short(trainer.evaluate(*trainer.test)[1]),
        "parameters": trainer.model.count_params(), "products": multiply_accumulates(trainer.model),
        "cpu_seconds": curves["cpu_seconds"], "compile_seconds": round(compiling, 2),
    }


def run(settings):
    setting = draw(settings["number"])
    return {**setting, **train(setting, settings["seed"])}


STUDY = Study(
    __file__, run, factors={"number": list(range(NUMBERS))}, seeds=2,
    fixed={"space": SPACE, "epochs": EPOCHS, "parameters": PARAMETERS, "products": PRODUCTS, "SGD": "momentum 0.9"},
    about="random settings of small networks within the limits of one, for replaying searches",
    group=lambda settings: settings["number"])

if __name__ == "__main__":
    STUDY.main()
