"""Attack small networks with images altered pixel by pixel: experiments/cnn_see.json, for the chapter `cnn`.

    python experiments/cnn_see.py      all runs; about 7 minutes of processor time on one thread

Four kinds of network are trained on the first 20,000 images of MNIST's training set, three seeds each: one dense layer
(softmax, at four resolutions), two dense layers, a small CNN, and the same CNN trained on altered images. Each is then
asked about 2,000 test images, every fifth of the test set, which nothing was chosen by: as they are, with noise, altered
by the fast gradient sign method (FGSM), by 20 steps of the same (PGD, on every second of the 2,000, four sizes), and
altered against another network, the article's (imagebook/files/digit_pad.npz), which is also attacked itself. A run that
is in the record is not run again. Last, the CNN with a layer of 128 before its output learns eight of the ten digits, and
the two others, of training and validation images, are compared by that layer: can it tell apart what it was not taught?
Set TF_NUM_INTRAOP_THREADS=1 for times that compare.
"""
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from imagebook import load_mnist
from imagebook.records import read_runs, short, write_runs
from imagebook.widgets.digit_pad import LAYERS, read_network

RECORD = Path(__file__).with_suffix(".json")
SIZES = [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
PGD_SIZES = [0.05, 0.1, 0.2, 0.3]
PGD_STEPS, SEEDS, IMAGES, BATCH_SIZE = 20, 3, 20_000, 100
UNTAUGHT = [(4, 9), (3, 8), (1, 7)]
# name: network, side of the image, epochs, alteration while training, its size
KINDS = {
    "softmax": ("softmax", 28, 10, None, 0.0),
    "dense": ("dense", 28, 5, None, 0.0),
    "cnn": ("cnn", 28, 5, None, 0.0),
    "softmax 7": ("softmax", 7, 10, None, 0.0),
    "softmax 14": ("softmax", 14, 10, None, 0.0),
    "softmax 56": ("softmax", 56, 10, None, 0.0),
    "cnn, noise 0.1": ("cnn", 28, 5, "noise", 0.1),
    "cnn, FGSM 0.1": ("cnn", 28, 5, "fgsm", 0.1),
    "cnn, PGD 0.1": ("cnn", 28, 5, "pgd", 0.1),
    "cnn, FGSM 0.3": ("cnn", 28, 5, "fgsm", 0.3),
}
HEADER = {
    "about": "accuracy on 2,000 test images (PGD: 1,000) altered by at most `sizes` a pixel, cut to 0..1",
    "training": "first 20,000 training images, Adam 1e-3, batches of 100; altered images only, where they are named",
    "cnn": "conv 5x5 stride 2, 16 maps, ReLU; conv 3x3, 32 maps, ReLU; max pooling 2x2; dense 10",
    "dense": "dense 128, ReLU; dense 10",
    "softmax": "dense 10; a number is the side of the image, averaged or repeated from 28",
    "sizes": SIZES,
    "pgd_sizes": PGD_SIZES,
    "pgd_steps": PGD_STEPS,
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


def make_network(name, side):
    """Return an untrained network: images of shape (side, side, 1), 0 to 1, to ten logits."""
    inside = {
        "softmax": [layers.Flatten()],
        "dense": [layers.Flatten(), layers.Dense(128, activation="relu")],
        "cnn": [
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
        ],
        "features": [
            layers.Conv2D(16, 5, strides=2, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
        ],
    }[name]
    return keras.Sequential([keras.Input((side, side, 1)), *inside, layers.Dense(10)])


def article_network():
    """Return the article's network with the weights of the drawing pad, ending in logits."""
    stored = read_network()
    network = keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10),
    ])
    ends = np.cumsum([shape[-1] for shape in LAYERS])[:-1]
    scales, biases = (np.split(stored[name], ends) for name in ("scales", "biases"))
    network.set_weights([
        part for n in range(len(LAYERS)) for part in (stored[f"kernel_{n}"] * scales[n], biases[n])
    ])
    return network


def resize(images, side):
    """Return images of shape (n, 28, 28), bytes, as (n, side, side, 1), 0 to 1: blocks averaged, or pixels repeated."""
    if side > 28:
        images = images.repeat(side // 28, axis=1).repeat(side // 28, axis=2)
    block = images.shape[1] // side
    images = images.reshape(-1, side, block, side, block).astype("float32").mean(axis=(2, 4)) / 255
    return images[..., None]


class Attack:
    """What alters images against one network; each method is compiled once."""

    def __init__(self, network):
        self.network = network
        self.logits = tf.function(lambda x: network(x, training=False), reduce_retracing=True)
        self.gradient = tf.function(self._gradient, reduce_retracing=True)

    def _gradient(self, x, y):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, self.network(x, training=False)))
        return tape.gradient(loss, x)

    def fgsm(self, x, y, size):
        return tf.clip_by_value(x + size * tf.sign(self.gradient(x, y)), 0, 1)

    def pgd(self, x, y, size, steps, start=None):
        moved = x if start is None else tf.clip_by_value(x + start, 0, 1)
        for _ in range(steps):
            moved = moved + 2.5 * size / steps * tf.sign(self.gradient(moved, y))
            moved = tf.clip_by_value(tf.clip_by_value(moved, x - size, x + size), 0, 1)
        return moved

    def accuracy(self, x, y):
        answers = [np.argmax(self.logits(x[at:at + 500]), axis=1) for at in range(0, len(x), 500)]
        return short(np.mean(np.concatenate(answers) == y))


def noise(shape, size, rng):
    """Return random signs times `size`, float32."""
    return (size * rng.choice(np.array([-1, 1], "float32"), shape)).astype("float32")


def batched(alter, x, y, many=500):
    """Return `alter(x, y)` put together from batches."""
    return np.concatenate([
        np.asarray(alter(tf.constant(x[at:at + many]), tf.constant(y[at:at + many]))) for at in range(0, len(x), many)
    ])


def train(network, attack, x, y, epochs, alteration, size, seed):
    """Train with Adam, on altered images where `alteration` names how."""
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, network(x, training=True))
            loss = tf.reduce_mean(loss)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply_gradients(zip(gradients, network.trainable_variables))

    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for at in range(0, len(x), BATCH_SIZE):
            batch, labels = tf.constant(x[order[at:at + BATCH_SIZE]]), tf.constant(y[order[at:at + BATCH_SIZE]])
            if alteration == "noise":
                batch = tf.clip_by_value(batch + noise(batch.shape, size, rng), 0, 1)
            elif alteration == "fgsm":
                batch = attack.fgsm(batch, labels, size)
            elif alteration == "pgd":
                start = rng.uniform(-size, size, batch.shape).astype("float32")
                batch = attack.pgd(batch, labels, size, 5, start)
            step(batch, labels)


def examine(attack, side, images, labels, other):
    """Return what the record holds of one network: accuracies by size of the alteration, norms of the gradient."""
    rng = np.random.default_rng(0)
    x, y = resize(images, side), labels
    signs = noise(x.shape, 1.0, rng)
    gradient = batched(attack.gradient, x, y)
    flat = np.abs(gradient.reshape(len(x), -1).astype("float64"))
    length1, length2 = flat.sum(axis=1), np.sqrt((flat**2).sum(axis=1))
    moved = length2 > 0
    result = {
        "noise": [attack.accuracy(np.clip(x + size * signs, 0, 1), y) for size in SIZES],
        "fgsm": [attack.accuracy(np.clip(x + size * np.sign(gradient), 0, 1), y) for size in SIZES],
        "pgd": [
            attack.accuracy(batched(lambda x, y: attack.pgd(x, y, size, PGD_STEPS), x[::2], y[::2]), y[::2])
            for size in PGD_SIZES
        ],
        "ratio_of_norms": short(np.median(length1[moved] / length2[moved])),
        "zero_gradients": short(np.mean(~moved)),
    }
    if side == 28:
        theirs = batched(other.gradient, x, y)
        result["from_article"] = [attack.accuracy(np.clip(x + size * np.sign(theirs), 0, 1), y) for size in SIZES]
        result["to_article"] = [other.accuracy(np.clip(x + size * np.sign(gradient), 0, 1), y) for size in SIZES]
    return result


def run(kind, seed, data, other):
    """Train the network of this kind with this seed and examine it."""
    (x_train, y_train), (x_test, y_test) = data
    started = time.process_time()
    if kind == "article":
        network, side, attack = other.network, 28, other
    else:
        name, side, epochs, alteration, size = KINDS[kind]
        keras.utils.set_random_seed(seed)
        network = make_network(name, side)
        attack = Attack(network)
        train(network, attack, resize(x_train, side), y_train, epochs, alteration, size, seed)
    trained = time.process_time()
    result = examine(attack, side, x_test, y_test, other)
    seconds = {"training_seconds": trained - started, "examining_seconds": time.process_time() - trained}
    return {**result, **{name: round(value, 1) for name, value in seconds.items()}}


def nearest(features, known, labels):
    """Return the label of the nearest of `known` for each row of `features`, both of shape (n, d)."""
    squares = (known**2).sum(axis=1) - 2 * features @ known.T
    return labels[squares.argmin(axis=1)]


def run_untaught(pair, seed):
    """Train without the two classes of `pair`; tell them apart by the nearest of 5,000 training images."""
    (x, y), _ = load_mnist()
    taught = ~np.isin(y[:IMAGES], pair)
    known, asked = np.isin(y[:5000], pair), np.isin(y[-10_000:], pair)
    x_known, x_asked = (resize(part, 28) for part in (x[:5000][known], x[-10_000:][asked]))
    y_known, y_asked = y[:5000][known], y[-10_000:][asked]
    keras.utils.set_random_seed(seed)
    network = make_network("features", 28)
    body = keras.Sequential([keras.Input((28, 28, 1)), *network.layers[:-1]])

    def accuracy(change):
        return short(np.mean(nearest(change(x_asked), change(x_known), y_known) == y_asked))

    def features(x):
        return np.concatenate([body(x[at:at + 500]).numpy() for at in range(0, len(x), 500)])

    started = time.process_time()
    result = {"pixels": accuracy(lambda x: x.reshape(len(x), -1)), "untrained": accuracy(features)}
    images, labels = resize(x[:IMAGES][taught], 28), y[:IMAGES][taught].astype("int64")
    train(network, Attack(network), images, labels, 5, None, 0.0, seed)
    return {**result, "trained": accuracy(features), "training_seconds": round(time.process_time() - started, 1)}


def main():
    tf.config.experimental.enable_op_determinism()
    runs = read_runs(RECORD, HEADER)
    done = {(run["kind"], run["seed"]) for run in runs}
    (x_train, y_train), (x_test, y_test) = load_mnist()
    data = (x_train[:IMAGES], y_train[:IMAGES].astype("int64")), (x_test[::5], y_test[::5].astype("int64"))
    other = Attack(article_network())
    wanted = [("article", 0)] + [(kind, seed) for kind in KINDS for seed in range(SEEDS)]
    for kind, seed in wanted:
        if (kind, seed) not in done:
            runs.append({"kind": kind, "seed": seed, **run(kind, seed, data, other)})
            write_runs(RECORD, HEADER, runs)
            last = runs[-1]
            print(kind, seed, last["fgsm"], last["pgd"], last["training_seconds"], last["examining_seconds"], flush=True)
    for pair in UNTAUGHT:
        for seed in range(SEEDS):
            kind = f"untaught {pair[0]} {pair[1]}"
            if (kind, seed) not in done:
                runs.append({"kind": kind, "seed": seed, **run_untaught(pair, seed)})
                write_runs(RECORD, HEADER, runs)
                print(*runs[-1].values(), flush=True)


if __name__ == "__main__":
    main()
