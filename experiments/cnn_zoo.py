"""One small CNN, deepened and changed in five ways, and LeNet-5, trained alike on MNIST: experiments/cnn_zoo.json.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \\
        python experiments/cnn_zoo.py

Every run sees the same images: the first 9,984 of MNIST's training set, three times, in batches of 64 whose order
depends on the seed alone; its last 5,000 validate; the test set is looked at once a run, after the last update. The
optimizer is SGD with momentum 0.9, its learning rate falls linearly to 0. Rates of a short list are tried with seed
0, and further ones where the best is the least or the greatest of them; the rate whose validation loss after the last
update is least is used with the other seeds too. A run that is in the
record is not run again. One compiled model serves all rates and seeds of a network, since compiling takes longer than
training. All runs take about 25 minutes of one core.
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
EPOCHS, BATCH_SIZE, IMAGES = 3, 64, 9984
UPDATES = EPOCHS * IMAGES // BATCH_SIZE
GRID = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
RATES = {"with batch norm": [0.03, 0.1, 0.3], "without": [0.01, 0.03, 0.1], "residual": [0.001, 0.003, 0.01]}
SEEDS = [0, 1, 2]
WIDTH = 16
DEPTHS = [6, 10, 18, 34]
NETWORKS = ["plain", "batch norm", "residual", "residual, zero start", "residual, batch norm", "separable"]
LESION_DEPTH, LESION_NETWORKS = 18, ["batch norm", "residual, batch norm"]
ONCE = ["scaled once", "normalised once"]
HEADER = {
    "about": "CNNs of growing depth on 9,984 images of MNIST, 468 updates; 5,000 others validate, 10,000 test",
    "networks": {
        "plain": "5×5 stride 2 (16 maps), max pooling 2×2; half of the 3×3 layers (16 maps) at 7×7, half after max "
        "pooling at 4×4; global average pooling, dense 10. Before every 3×3 layer and after the last: ReLU",
        "batch norm": "the same, with batch normalisation before every such ReLU, and no biases in the 3×3 layers",
        "residual": "plain, the input of every two 3×3 layers added to their output; He initialisation throughout",
        "residual, zero start": "the same, the second layer of every two beginning at zero",
        "residual, batch norm": "batch norm, with the same additions",
        "separable": "residual, batch norm, with depthwise-separable 3×3 layers",
        "scaled once": "plain; before training, each layer's maps are given variance 1 on the first 256 images, by its weights",
        "normalised once": "the same, and mean 0, by its biases",
        "LeNet-5": "5×5 (6), 5×5 (16), each followed by 2×2 average pooling; dense 120, 84, 10; tanh",
        "LeNet-5, ReLU": "the same with ReLU and max pooling",
    },
    "epochs": EPOCHS,
    "batch_size": BATCH_SIZE,
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


def normalises(name):
    return "batch norm" in name or name == "separable"


class FallingRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that falls linearly from `first`, which may be set anew, to zero after the last update."""

    def __init__(self):
        self.first = keras.Variable(0.1, trainable=False)

    def __call__(self, step):
        return self.first * (1 - keras.ops.cast(step, "float32") / UPDATES)


def make_network(name, depth):
    """Return the untrained network with `depth` layers that have weights: images (28, 28, 1), uint8, to ten logits."""
    if name.startswith("LeNet"):
        return make_lenet("relu" if name.endswith("ReLU") else "tanh")
    norm = normalises(name)
    add = "residual" in name or name == "separable"
    convolution = layers.SeparableConv2D if name == "separable" else layers.Conv2D

    def half_block(tensor, label):
        tensor = layers.BatchNormalization(name=f"norm_{label}")(tensor) if norm else tensor
        tensor = layers.ReLU(name=f"relu_{label}")(tensor)
        return convolution(WIDTH, 3, padding="same", use_bias=not norm, name=label)(tensor)

    inputs = keras.Input((28, 28, 1))
    hidden = layers.Rescaling(1 / 127.5, -1)(inputs)
    hidden = layers.Conv2D(WIDTH, 5, strides=2, padding="same")(hidden)
    for stage in range(2):
        hidden = layers.MaxPooling2D(padding="same")(hidden)
        for block in range((depth - 2) // 4):
            change = half_block(half_block(hidden, f"first_{stage}_{block}"), f"second_{stage}_{block}")
            hidden = hidden + change if add else change
    hidden = layers.BatchNormalization()(hidden) if norm else hidden
    hidden = layers.GlobalAveragePooling2D()(layers.ReLU()(hidden))
    return keras.Model(inputs, layers.Dense(10)(hidden))


def make_lenet(activation):
    """Return LeNet-5 with full connections: with tanh and average pooling, or with ReLU and max pooling."""
    pooling = layers.MaxPooling2D if activation == "relu" else layers.AveragePooling2D
    return keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 127.5, -1),
        layers.Conv2D(6, 5, padding="same", activation=activation), pooling(2),
        layers.Conv2D(16, 5, activation=activation), pooling(2),
        layers.Flatten(), layers.Dense(120, activation=activation), layers.Dense(84, activation=activation),
        layers.Dense(10),
    ])  # fmt: skip


def draw_weights(model, name, seed):
    """Give the model first weights that depend on the seed alone: He's, Glorot's where tanh or nothing follows."""
    seeds = iter(np.random.default_rng(seed).integers(2**31, size=1000).tolist())
    tanh = name == "LeNet-5"
    for layer in model.layers:
        for variable in layer.weights:
            ones = variable.name in ("gamma", "moving_variance")
            if len(variable.shape) == 1:
                value = np.full(variable.shape, float(ones))
            elif name == "residual, zero start" and layer.name.startswith("second"):
                value = np.zeros(variable.shape)
            elif variable.name == "depthwise_kernel":  # Keras takes its fan-in for 9 times the channels: it is 9
                value = keras.initializers.RandomNormal(stddev=math.sqrt(2 / 9), seed=next(seeds))(variable.shape)
            elif variable.name == "pointwise_kernel":  # no ReLU stands before it
                value = keras.initializers.LecunNormal(seed=next(seeds))(variable.shape)
            elif tanh or layer is model.layers[-1]:
                value = keras.initializers.GlorotUniform(seed=next(seeds))(variable.shape)
            else:
                value = keras.initializers.HeNormal(seed=next(seeds))(variable.shape)
            variable.assign(value)


def adjust_once(model, images, centre):
    """Give every convolution of a chain of layers outputs of variance 1 (and mean 0) a channel, on these images."""
    hidden = images
    for layer in model.layers[1:]:
        before, hidden = hidden, layer(hidden)
        if isinstance(layer, layers.Conv2D):
            maps = np.array(hidden).reshape(-1, hidden.shape[-1])
            layer.kernel.assign(layer.kernel / maps.std(axis=0))
            if centre:
                layer.bias.assign(-maps.mean(axis=0) / maps.std(axis=0))
            hidden = layer(before)


def accuracy_without(model, residual, missing, images, labels):
    """Return the accuracy of a trained network from whose list of two-layer blocks one is left out (or none: None)."""
    firsts = [layer.name[6:] for layer in model.layers if layer.name.startswith("first")]
    pools = [layer for layer in model.layers if isinstance(layer, layers.MaxPooling2D)]
    hidden = model.layers[2](model.layers[1](images))
    for index, place in enumerate(firsts):
        if place.endswith("_0"):
            hidden = pools[int(place[0])](hidden)
        if index != missing:
            change = hidden
            for half in ("first", "second"):
                for kind in ("norm_", "relu_", ""):
                    change = model.get_layer(f"{kind}{half}_{place}")(change)
            hidden = hidden + change if residual else change
    for layer in model.layers[-4:]:
        hidden = layer(hidden)
    return float(np.mean(np.argmax(hidden, axis=1) == labels))


def count_arithmetic(model):
    """Return the multiply-accumulates of the convolutions and dense layers for one image."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            total += layer.kernel.shape[0] * layer.kernel.shape[1]
        elif isinstance(layer, layers.SeparableConv2D):
            total += math.prod(layer.output.shape[1:3]) * (layer.depthwise_kernel.shape[2] * 9 + layer.pointwise_kernel.shape[2] * WIDTH)
        elif isinstance(layer, layers.Conv2D):
            total += math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape)
    return total


class Bench:
    """One compiled model for all rates and seeds of a network."""

    def __init__(self, name, depth, data):
        self.name, self.data, self.model, self.rate = name, data, make_network(name, depth), FallingRate()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = keras.optimizers.SGD(self.rate, momentum=0.9)
        self.model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=39)
        self.model.fit(data["train"][0][:2496], data["train"][1][:2496], batch_size=BATCH_SIZE, shuffle=False, verbose=0)
        self.judge("test")

    def judge(self, part):
        return self.model.evaluate(*self.data[part], batch_size=256, verbose=0)

    def run(self, rate, seed):
        """Train from the first weights of this seed; return the curves and what is measured at the end."""
        draw_weights(self.model, self.name, seed)
        if self.name in ONCE:
            adjust_once(self.model, self.data["train"][0][:256], centre=self.name == "normalised once")
        for variable in self.model.optimizer.variables:
            variable.assign(np.zeros(variable.shape))
        self.rate.first.assign(rate)
        random = np.random.default_rng(seed)
        images, labels = self.data["train"]
        curves = {key: [] for key in ["loss", "accuracy", "val_loss", "val_accuracy"]}
        seconds = 0
        for _ in range(EPOCHS):
            order = random.permutation(IMAGES)
            shown = images[order], labels[order]
            started = time.process_time()
            history = self.model.fit(*shown, batch_size=BATCH_SIZE, shuffle=False, verbose=0).history
            seconds += time.process_time() - started
            judged = self.judge("validation")
            for key, value in zip(curves, [history["loss"][0], history["accuracy"][0], *judged]):
                curves[key].append(rounded(value))
        train_loss, train_accuracy = self.judge("train")
        started = time.process_time()
        test_loss, test_accuracy = self.judge("test")
        test_seconds = time.process_time() - started
        return {
            **curves,
            "train_loss": rounded(train_loss), "train_accuracy": rounded(train_accuracy),
            "test_loss": rounded(test_loss), "test_accuracy": rounded(test_accuracy),
            "cpu_seconds": round(seconds, 3), "test_seconds": round(test_seconds, 3),
            "parameters": sum(math.prod(weight.shape) for weight in self.model.trainable_weights),
            "arithmetic": count_arithmetic(self.model),
        }  # fmt: skip


def rounded(value):
    return round(float(value), 5) if math.isfinite(value) else None


def main():
    runs = read_runs(RECORD, HEADER)
    (x_train, y_train), (x_test, y_test) = load_mnist()
    x_train, x_test = x_train[..., None], x_test[..., None]
    data = {
        "train": (x_train[:IMAGES], y_train[:IMAGES]),
        "validation": (x_train[55_000:], y_train[55_000:]),
        "test": (x_test, y_test),
    }
    cells = [(name, depth) for name in NETWORKS for depth in DEPTHS if (name, depth) != ("residual", 34)]
    cells += [(name, depth) for name in ONCE for depth in DEPTHS[1:]] + [("LeNet-5", 5), ("LeNet-5, ReLU", 5)]
    for name, depth in cells:
        here = {(run["rate"], run["seed"]): run for run in runs if (run["network"], run["depth"]) == (name, depth)}
        bench = None

        def ensure(rate, seed):
            nonlocal bench
            if (rate, seed) in here:
                return
            if bench is None:
                keras.backend.clear_session()
                bench = Bench(name, depth, data)
            run = here[rate, seed] = {"network": name, "depth": depth, "rate": rate, "seed": seed, **bench.run(rate, seed)}
            if depth == LESION_DEPTH and name in LESION_NETWORKS:
                some = data["validation"][0][:2000], data["validation"][1][:2000]
                blocks = [None, *range((depth - 2) // 2)]
                run["without_block"] = [accuracy_without(bench.model, name.startswith("residual"), block, *some) for block in blocks]
            runs.append(run)
            write_runs(RECORD, HEADER, runs)
            print(name, depth, rate, seed, run["train_loss"], run["val_loss"], run["test_accuracy"], run["cpu_seconds"], flush=True)

        rates = list(RATES[name] if name in RATES else RATES["with batch norm" if normalises(name) else "without"])
        while True:  # the best rate must not be the least or the greatest that was tried
            for rate in rates:
                ensure(rate, SEEDS[0])
            best = min(rates, key=lambda rate: here[rate, SEEDS[0]]["val_loss"][-1] or math.inf)
            place = GRID.index(best)
            further = [rate for rate in GRID[max(place - 1, 0) : place + 2] if rate not in rates]
            if not further:
                break
            rates += further
        for seed in SEEDS[1:]:
            ensure(best, seed)


if __name__ == "__main__":
    main()
