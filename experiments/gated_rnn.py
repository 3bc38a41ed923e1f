"""Train recurrent networks, a CNN and self-attention on memory, digits and strips of digits: experiments/gated_rnn.json.

    python experiments/gated_rnn.py                  every part; about 13 minutes of one thread
    python experiments/gated_rnn.py memory pixels    some of them, and --seconds for their time

memory   One cell with or without each of its gates keeps the last value that was marked, for as long as it is asked;
         fresh sequences at every step. Networks train side by side, a rate and a seed each, on sequences of 50 steps;
         they are tested on such, and on streams of 500.
zoo      Eight networks of some 24,000 parameters on 10,000 digits, read by rows; then by columns, and scrambled.
rows     An LSTM asked after the last row, one asked after every row, a SimpleRNN asked after every row; also writes
         gated_rnn_rows.npz, what each believes of forty validation digits after each row.
strips   Readers of strips of three to six digits, trained with CTC; also writes gated_rnn_strips.npz, one reader's weights.
pixels   Five cells read digits of 14×14 one pixel at a time, in reading order and scrambled.

Training images are the first of MNIST's training set, validation images its last 2,000. A learning rate is chosen with
the first seed on validation; the test set is looked at once a run, after the last epoch. A run that is in the record is
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
from imagebook.records import Record, short, write_arrays

RECORD = Path(__file__).with_suffix(".json")
SEEDS = [0, 1, 2]
ZOO_IMAGES, ZOO_EPOCHS, ZOO_RATES = 10_000, 4, [1e-3, 3e-3, 1e-2]
ROWS_IMAGES, ROWS_EPOCHS = 20_000, 3
MEMORY_STEPS, MEMORY_RATES, MEMORY_UNITS, MEMORY_LENGTH = 2500, [3e-3, 1e-2], 8, 50
PIXEL_STEPS, PIXEL_RATES, PIXEL_UNITS, PIXEL_BATCH = 1000, [3e-3], 32, 50
STRIPS, STRIP_EPOCHS, STRIP_WIDTH = 10_000, 4, 160
HEADER = {
    "about": "gated recurrent networks and what came after; the parts are described in gated_rnn.py",
    "zoo": {"images": ZOO_IMAGES, "epochs": ZOO_EPOCHS, "rates": ZOO_RATES, "batch_size": 64},
    "rows": {"images": ROWS_IMAGES, "epochs": ROWS_EPOCHS, "rate": 3e-3, "batch_size": 64},
    "memory": {"steps": MEMORY_STEPS, "rates": MEMORY_RATES, "units": MEMORY_UNITS, "length": MEMORY_LENGTH},
    "pixels": {"steps": PIXEL_STEPS, "rates": PIXEL_RATES, "units": PIXEL_UNITS, "batch_size": PIXEL_BATCH},
    "strips": {"strips": STRIPS, "epochs": STRIP_EPOCHS, "rate": 3e-3, "width": STRIP_WIDTH},
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


# Digits, read by rows ---------------------------------------------------------------------------------------------


class Positions(layers.Layer):
    """Add a learnt vector to each token, the same for every image: without it attention cannot tell order."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.1))

    def call(self, tokens):
        return tokens + self.table


def attention(tokens, units=44, blocks=1):
    """Return ten probabilities from tokens of shape (images, tokens, d): blocks of self-attention, then the mean."""
    h = Positions()(layers.Dense(units)(tokens))
    for _ in range(blocks):
        norm = layers.LayerNormalization()(h)
        h = h + layers.MultiHeadAttention(4, units // 4)(norm, norm)
        norm = layers.LayerNormalization()(h)
        h = h + layers.Dense(units)(layers.Dense(3 * units, activation="relu")(norm))
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(h))


def cut(images, side=4):
    """Return the patches of images (n, 28, 28) as tokens, shape (n, patches, side²)."""
    many = 28 // side
    grid = ops.reshape(images, (-1, many, side, many, side))
    return ops.reshape(ops.transpose(grid, (0, 1, 3, 2, 4)), (-1, many**2, side**2))


def convolve(images):
    h = layers.Conv2D(16, 5, strides=2, activation="relu")(layers.Reshape((28, 28, 1))(images))
    h = layers.Conv2D(32, 3, activation="relu")(h)
    h = layers.Conv2D(64, 3, activation="relu")(layers.MaxPooling2D()(h))
    return layers.Flatten()(layers.MaxPooling2D(3)(h))


NETWORKS = {
    "dense": lambda x: layers.Dense(32, activation="relu")(layers.Flatten()(x)),
    "SimpleRNN": layers.SimpleRNN(136),
    "LSTM": layers.LSTM(64),
    "GRU": layers.GRU(75),
    "two-way LSTM": layers.Bidirectional(layers.LSTM(41)),
    "CNN": convolve,
    "attention, rows": attention,
    "attention, patches": lambda x: attention(cut(x)),
}


def make_model(name):
    """Return the untrained network: images (28, 28), uint8, to ten probabilities."""
    image = keras.Input((28, 28))
    body = NETWORKS[name]
    if isinstance(body, layers.Layer):
        body = type(body).from_config(body.get_config())
    return keras.Model(image, layers.Dense(10, activation="softmax")(body(layers.Rescaling(1 / 255)(image))))


def load_digits(many, order="rows"):
    """Return (images, labels) to train, validate and test with, turned or scrambled alike."""
    (x_train, y_train), (x_test, y_test) = load_mnist()
    parts = [(x_train[:many], y_train[:many]), (x_train[-2000:], y_train[-2000:]), (x_test, y_test)]
    scramble = np.random.default_rng(0).permutation(784)
    turn = {
        "rows": lambda x: x,
        "columns": lambda x: x.swapaxes(1, 2).copy(),
        "scrambled": lambda x: x.reshape(-1, 784)[:, scramble].reshape(-1, 28, 28),
    }[order]
    return [(turn(images), labels) for images, labels in parts]


def zoo(record):
    """The eight networks by rows at three rates; then columns and scrambled pixels at the rate that was chosen."""
    chosen = {}
    plans = [("rows", name) for name in NETWORKS] + [("columns", "LSTM")]
    plans += [("scrambled", name) for name in NETWORKS if name not in ("two-way LSTM", "attention, patches")]
    for order, name in plans:
        rates = ZOO_RATES if order == "rows" else [chosen[name]]
        data, model = None, None
        for seed in SEEDS:
            for rate in rates:
                key = {"part": "zoo", "order": order, "network": name, "learning_rate": rate, "seed": seed}
                if record.holds(key):
                    continue
                if model is None:
                    data = load_digits(ZOO_IMAGES, order)
                    model = make_model(name)
                    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
                    model.optimizer.build(model.trainable_variables)
                    start = [variable.numpy() for variable in model.optimizer.variables]
                    model.fit(data[0][0][:640], data[0][1][:640], batch_size=64, verbose=0)
                keras.utils.set_random_seed(seed)
                model.set_weights(make_model(name).get_weights())
                for variable, value in zip(model.optimizer.variables, start):
                    variable.assign(value)
                model.optimizer.learning_rate = rate
                started = time.process_time()
                model.fit(*data[0], batch_size=64, epochs=ZOO_EPOCHS, verbose=0)
                seconds = time.process_time() - started
                validation = model.evaluate(*data[1], batch_size=1000, verbose=0)[1]
                test = model.evaluate(*data[2], batch_size=1000, verbose=0)[1]
                record.add({**key, "validation": short(validation), "test": short(test),
                            "cpu_seconds": round(seconds, 1), "parameters": model.count_params()})
            if seed == 0:
                found = [(run["validation"], run["learning_rate"]) for run in record.runs if run["part"] == "zoo"
                         and (run["order"], run["network"], run["seed"]) == (order, name, 0)]
                chosen.setdefault(name, max(found)[1])
                rates = [chosen[name]]


# What is believed after each row ------------------------------------------------------------------------------------

ASKED = {
    "SimpleRNN, asked after every row": (layers.SimpleRNN, 136, True),
    "LSTM, asked after every row": (layers.LSTM, 64, True),
    "LSTM, asked after the last row": (layers.LSTM, 64, False),
}


def rows(record):
    """Accuracy after each row of three networks, three seeds; beliefs about forty digits from the first seed."""
    train, validation, test = load_digits(ROWS_IMAGES)
    beliefs = {}
    for name, (cell, units, every) in ASKED.items():
        for seed in SEEDS:
            key = {"part": "rows", "network": name, "seed": seed}
            if record.holds(key):
                continue
            keras.utils.set_random_seed(seed)
            image = keras.Input((28, 28))
            h = cell(units, return_sequences=True)(layers.Rescaling(1 / 255)(image))
            p = layers.Dense(10, activation="softmax")(h)
            reader = keras.Model(image, p)
            model = reader if every else keras.Model(image, p[:, -1])
            rate = 1e-3 if cell is layers.SimpleRNN else 3e-3
            model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
            labels = np.repeat(train[1][:, None], 28, axis=1) if every else train[1]
            model.fit(train[0], labels, batch_size=64, epochs=ROWS_EPOCHS, verbose=0)
            guesses = reader.predict(test[0], batch_size=1000, verbose=0)
            right = (guesses.argmax(axis=-1) == test[1][:, None]).mean(axis=0)
            middle = reader.predict(validation[0], batch_size=1000, verbose=0)
            seen = (middle.argmax(axis=-1) == validation[1][:, None]).mean(axis=0)
            record.add({**key, "validation": [short(a) for a in seen], "test": [short(a) for a in right]})
            if seed == 0:
                beliefs[name] = middle
    if len(beliefs) == len(ASKED):
        chosen = choose(beliefs["LSTM, asked after every row"], validation[1])
        write_arrays(
            RECORD.with_name("gated_rnn_rows.npz"), names=np.array(list(beliefs)), images=validation[0][chosen],
            labels=validation[1][chosen],
            probabilities=np.stack([np.round(255 * p[chosen]).astype(np.uint8) for p in beliefs.values()]),
        )


def choose(beliefs, labels):
    """Return four validation digits of each class: decided early, about the middle, late, and the most in doubt."""
    right = beliefs.argmax(axis=-1) == labels[:, None]
    decided = 28 - np.cumprod(right[:, ::-1], axis=1).sum(axis=1)  # first row from which the answer stays right
    doubt = beliefs[:, -1].max(axis=1)
    found = []
    for label in range(10):
        own = np.flatnonzero(labels == label)
        by_row = own[np.argsort(decided[own], kind="stable")]
        solid = by_row[decided[by_row] < 28]
        picks = [solid[len(solid) // 20], solid[len(solid) // 2], solid[-3]]
        rest = [index for index in own[np.argsort(doubt[own], kind="stable")] if index not in picks]
        found += [*picks, rest[0]]
    return np.array(found)


# Strips of digits -----------------------------------------------------------------------------------------------------


def make_strips(images, labels, many, seed):
    """Return strips (many, 28, STRIP_WIDTH), uint8, and labels (many, 6): 1 + digit, then zeros.

    A strip holds three to six digits, trimmed to their ink, from two pixels of overlap to ten of gap between them.
    """
    rng = np.random.default_rng(seed)
    strips = np.zeros((many, 28, STRIP_WIDTH), np.uint8)
    targets = np.zeros((many, 6), np.int32)
    for strip, target in zip(strips, targets):
        count = rng.integers(3, 7)
        chosen = rng.integers(len(images), size=count)
        trimmed = []
        for image in images[chosen]:
            ink = np.flatnonzero(image.max(axis=0) > 60)
            trimmed.append(image[:, ink[0]:ink[-1] + 1])
        gaps = rng.integers(-2, 11, size=count - 1)
        width = sum(digit.shape[1] for digit in trimmed) + gaps.sum()
        while width > STRIP_WIDTH - 8:
            gaps = np.maximum(gaps - 1, -2)
            width = sum(digit.shape[1] for digit in trimmed) + gaps.sum()
        left = rng.integers(4, STRIP_WIDTH - 4 - width + 1)
        for digit, gap in zip(trimmed, [*gaps, 0]):
            window = strip[:, left:left + digit.shape[1]]
            np.maximum(window, digit, out=window)
            left += digit.shape[1] + gap
        target[:count] = labels[chosen] + 1
    return strips, targets


def make_reader(name):
    """Return a reader: strips (28, STRIP_WIDTH), uint8, to 40 frames of eleven logits, the blank first."""
    strip = keras.Input((28, STRIP_WIDTH))
    h = layers.Rescaling(1 / 255)(layers.Reshape((28, STRIP_WIDTH, 1))(strip))
    h = layers.Conv2D(12, 5, strides=2, padding="same", activation="relu")(h)
    h = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(h)
    h = layers.ZeroPadding2D((0, 1))(h)
    h = layers.Reshape((STRIP_WIDTH // 4, 48))(layers.Conv2D(48, (7, 3), activation="relu")(h))
    if name == "two-way GRU":
        h = layers.Bidirectional(layers.GRU(32, return_sequences=True))(h)
    return keras.Model(strip, layers.Dense(11)(h))


def collapse(frames):
    """Return the digits of frames (n, 40) of labels: repeats are merged, then blanks are dropped."""
    read = []
    for path in frames:
        kept = [label for label, before in zip(path, [0, *path[:-1]]) if label != before and label]
        read.append([int(label) - 1 for label in kept])
    return read


def distance(a, b):
    """Return the edit distance of two sequences."""
    row = np.arange(len(b) + 1)
    for i, symbol in enumerate(a, 1):
        above, row = row, row.copy()
        row[0] = i
        for j, other in enumerate(b, 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (symbol != other))
    return int(row[-1])


def strips(record):
    """Two readers, three seeds: share of strips read without an error, and edits a digit."""
    train, _, test = load_digits(50_000)
    x, y = make_strips(*train, STRIPS, 0)
    x_test, y_test = make_strips(*test, 1000, 2)
    truth = [[int(label) - 1 for label in target if label] for target in y_test]
    for name in ("convolution only", "two-way GRU"):
        for seed in SEEDS:
            key = {"part": "strips", "network": name, "seed": seed}
            if record.holds(key):
                continue
            keras.utils.set_random_seed(seed)
            model = make_reader(name)
            steps = STRIP_EPOCHS * len(x) // 50
            rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
            model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), keras.losses.CTC())
            started = time.process_time()
            curve = model.fit(x, y, batch_size=50, epochs=STRIP_EPOCHS, verbose=0).history["loss"]
            seconds = time.process_time() - started
            read = collapse(model.predict(x_test, batch_size=200, verbose=0).argmax(axis=-1))
            edits = [distance(a, b) for a, b in zip(read, truth)]
            record.add({**key, "loss": [short(value) for value in curve], "right": short(np.mean(np.equal(edits, 0))),
                        "edits_a_digit": short(sum(edits) / sum(map(len, truth))),
                        "cpu_seconds": round(seconds, 1), "parameters": model.count_params()})
            if name == "two-way GRU" and seed == 0:
                names = [weight.path for weight in model.weights]
                write_arrays(RECORD.with_name("gated_rnn_strips.npz"), names=np.array(names), **{
                    f"w{index:02}": value.astype(np.float16) for index, value in enumerate(model.get_weights())})


# Cells side by side ---------------------------------------------------------------------------------------------------


def first_weights(cell, seed, inputs, units, outputs):
    """Return kernel, recurrent kernel, bias, and the last layer's two, as Keras would draw them."""
    keras.utils.set_random_seed(seed)
    kinds = {"SimpleRNN": layers.SimpleRNN, "IRNN": layers.SimpleRNN, "GRU": layers.GRU}
    layer = kinds.get(cell, layers.LSTM)(units)
    model = keras.Sequential([keras.Input((None, inputs)), layer, layers.Dense(outputs)])
    weights = model.get_weights()
    if cell == "IRNN":
        weights[1] = np.eye(units, dtype="float32")
    if "forget bias" in cell:
        weights[2][units:2 * units] = float(cell.split()[-1])
    return weights


def advance(cell, state, x, weights):
    """Return the state one step later, (h, c); cells without c hand zeros on. First axis of all arrays: networks."""
    kernel, recurrent, bias = weights[:3]
    h, c = state
    if cell == "GRU":
        z, r, new = tf.split(x @ kernel + bias[:, :1], 3, axis=-1)
        z_h, r_h, new_h = tf.split(h @ recurrent + bias[:, 1:], 3, axis=-1)
        z = tf.sigmoid(z + z_h)
        return z * h + (1 - z) * tf.tanh(new + tf.sigmoid(r + r_h) * new_h), c
    total = x @ kernel + h @ recurrent + bias
    if cell in ("SimpleRNN", "IRNN"):
        return (tf.nn.relu(total) if cell == "IRNN" else tf.tanh(total)), c
    i, f, new, o = tf.split(total, 4, axis=-1)
    i, f, o = (gate if name in cell else tf.sigmoid(raw) for name, gate, raw in (
        ("no input gate", 1.0, i), ("no forget gate", 1.0, f), ("no output gate", 1.0, o)))
    c = f * c + i * tf.tanh(new)
    return o * tf.tanh(c), c


class Stack:
    """Networks of one cell, a rate and a seed each (rates vary slowest), trained together by Adam."""

    def __init__(self, cell, rates, inputs, units, outputs):
        self.cell, self.units, self.many = cell, units, len(rates) * len(SEEDS)
        drawn = [first_weights(cell, seed, inputs, units, outputs) for _ in rates for seed in SEEDS]
        self.weights = [tf.Variable(a[:, None] if a.ndim == 2 else a) for a in map(np.stack, zip(*drawn))]
        self.means = [tf.Variable(tf.zeros_like(w)) for w in self.weights]
        self.squares = [tf.Variable(tf.zeros_like(w)) for w in self.weights]
        self.rates = tf.constant(np.repeat(rates, len(SEEDS))[:, None, None], tf.float32)
        self.repeats = len(rates)

    def last(self, x):
        """Return the outputs after the last step, (networks, many, outputs)."""
        length, start = x.shape[0], tf.zeros((self.many, x.shape[2], self.units))
        state = (start, start)
        for t in tf.range(length):
            tf.autograph.experimental.set_loop_options(maximum_iterations=length)
            state = advance(self.cell, state, x[t], self.weights)
        return state[0] @ self.weights[3] + self.weights[4]

    def every(self, x):
        """Return the outputs after every step, (length, networks, many, outputs)."""
        length, start = x.shape[0], tf.zeros((self.many, x.shape[2], self.units))
        state, kept = (start, start), tf.TensorArray(tf.float32, length, element_shape=start.shape)
        for t in tf.range(length):
            tf.autograph.experimental.set_loop_options(maximum_iterations=length)
            state = advance(self.cell, state, x[t], self.weights)
            kept = kept.write(t, state[0])
        return kept.stack() @ self.weights[3] + self.weights[4]

    def descend(self, loss, tape, step):
        gradients = tape.gradient(loss, self.weights)
        norm = tf.sqrt(sum(tf.reduce_sum(g**2, axis=(1, 2), keepdims=True) for g in gradients))
        factor = 1 / tf.maximum(norm, 1.0)
        count = tf.cast(step + 1, tf.float32)
        rates = self.rates * tf.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        for w, m, s, g in zip(self.weights, self.means, self.squares, gradients):
            m.assign(0.9 * m + 0.1 * factor * g)
            s.assign(0.999 * s + 0.001 * (factor * g) ** 2)
            w.assign_sub(rates * m / (tf.sqrt(s) + 1e-7))


def memory_task(seed, many, length=MEMORY_LENGTH):
    """Return inputs (length, many, 3): value, write, read; and targets (length, many, 1): 0 where nothing is asked."""
    seeds = tf.random.split(seed, 3)
    values = tf.random.stateless_uniform((length, many), seeds[0], -1, 1)
    write = tf.cast(tf.random.stateless_uniform((length, many), seeds[1]) < 0.1, tf.float32)
    write = tf.concat([tf.ones((1, many)), write[1:]], axis=0)
    read = tf.cast(tf.random.stateless_uniform((length, many), seeds[2]) < 0.2, tf.float32)
    times = tf.range(length, dtype=tf.float32)[:, None]
    latest = tf.cast(tf.math.cumulative_logsumexp(write * 20 * times - 1e4 * (1 - write), axis=0) / 20 + 0.5, tf.int32)
    stored = tf.gather(tf.transpose(values), tf.transpose(latest), batch_dims=1)
    return tf.stack([values, write, read], axis=-1), (read * tf.transpose(stored))[..., None]


MEMORY_CELLS = ["LSTM", "no input gate", "no forget gate", "no output gate", "GRU", "SimpleRNN"]


def memory(record):
    """Root mean square error where a value is asked and where silence is, on 4,096 sequences and 512 longer ones."""
    for cell in MEMORY_CELLS:
        if record.holds({"part": "memory", "cell": cell}):
            continue
        stack = Stack(cell, MEMORY_RATES, 3, MEMORY_UNITS, 1)

        @tf.function(jit_compile=True)
        def train(step):
            x, y = zip(*[memory_task((step, seed), 32) for seed in SEEDS])
            x = tf.tile(tf.stack(x, axis=1), (1, stack.repeats, 1, 1))
            y = tf.tile(tf.stack(y, axis=1), (1, stack.repeats, 1, 1))
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.reduce_mean((stack.every(x) - y) ** 2, axis=(0, 2, 3)))
            stack.descend(loss, tape, step)

        @tf.function(jit_compile=True)
        def measure(seed, many, length):
            x, y = memory_task((seed, 10**6), many, length)
            asked = x[:, None, :, 2:]
            square = (stack.every(tf.tile(x[:, None], (1, stack.many, 1, 1))) - y[:, None]) ** 2
            loud = tf.reduce_sum(square * asked, axis=(0, 2, 3)) / tf.reduce_sum(asked)
            return loud, tf.reduce_sum(square * (1 - asked), axis=(0, 2, 3)) / tf.reduce_sum(1 - asked)

        started = time.process_time()
        for step in range(MEMORY_STEPS):
            train(tf.constant(step))
        validation, test = measure(0, 512, MEMORY_LENGTH), measure(1, 4096, MEMORY_LENGTH)
        stream = measure(2, 512, 10 * MEMORY_LENGTH)
        seconds = (time.process_time() - started) / stack.many
        for index, (rate, seed) in enumerate((rate, seed) for rate in MEMORY_RATES for seed in SEEDS):
            record.add({
                "part": "memory", "cell": cell, "learning_rate": rate, "seed": seed,
                "validation": [short(v[index] ** 0.5) for v in validation],
                "test": [short(v[index] ** 0.5) for v in test],
                "stream": [short(v[index] ** 0.5) for v in stream], "cpu_seconds": round(seconds, 1)})


PIXEL_CELLS = ["SimpleRNN", "LSTM", "GRU", "LSTM, forget bias 2", "LSTM, forget bias 5"]


def pixels(record):
    """Accuracy of cells that see one pixel a step, 196 steps, in reading order and scrambled."""
    small = [(images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196) / 255, labels)
             for images, labels in load_digits(ZOO_IMAGES)]
    scramble = np.random.default_rng(0).permutation(196)
    for order in ("reading order", "scrambled"):
        parts = [(tf.constant(x[:, scramble] if order == "scrambled" else x, tf.float32), tf.constant(y, tf.int32))
                 for x, y in small]
        for cell in PIXEL_CELLS:
            if record.holds({"part": "pixels", "order": order, "cell": cell}):
                continue
            stack = Stack(cell, PIXEL_RATES, 1, PIXEL_UNITS, 10)

            @tf.function(jit_compile=True)
            def train(step, images, labels, chosen):
                x = tf.tile(tf.transpose(tf.gather(images, chosen), (2, 0, 1)), (1, stack.repeats, 1))[..., None]
                y = tf.tile(tf.gather(labels, chosen), (stack.repeats, 1))
                with tf.GradientTape() as tape:
                    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, stack.last(x))
                    loss = tf.reduce_sum(tf.reduce_mean(loss, axis=1))
                stack.descend(loss, tape, step)

            @tf.function(jit_compile=True)
            def answer(images):
                x = tf.tile(tf.transpose(images)[:, None], (1, stack.many, 1))[..., None]
                return tf.argmax(stack.last(x), axis=-1)

            def accuracy(images, labels):
                found = [answer(images[start:start + 500]) for start in range(0, len(images), 500)]
                return np.mean(np.concatenate(found, axis=1) == labels.numpy(), axis=1)

            started, curve = time.process_time(), []
            rng = [np.random.default_rng(seed) for seed in SEEDS]
            for step in range(PIXEL_STEPS):
                chosen = np.stack([one.integers(ZOO_IMAGES, size=PIXEL_BATCH) for one in rng])
                train(tf.constant(step), *parts[0], tf.constant(chosen))
                if (step + 1) % (PIXEL_STEPS // 4) == 0:
                    curve.append(accuracy(*parts[1]))
            seconds = (time.process_time() - started) / stack.many
            test = accuracy(*parts[2])
            for index, (rate, seed) in enumerate((rate, seed) for rate in PIXEL_RATES for seed in SEEDS):
                record.add({
                    "part": "pixels", "order": order, "cell": cell, "learning_rate": rate, "seed": seed,
                    "validation": [short(v[index]) for v in curve], "test": short(test[index]),
                    "cpu_seconds": round(seconds, 1)})


PARTS = {"memory": memory, "zoo": zoo, "rows": rows, "strips": strips, "pixels": pixels}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--seconds", action="store_true", help="print the time of each part")
    options = parser.parse_args()
    record = Record(RECORD, HEADER)
    for part in options.parts or PARTS:
        started = time.process_time()
        PARTS[part](record)
        if options.seconds:
            print(f"{part:8}{time.process_time() - started:6.0f} CPU-seconds", flush=True)


if __name__ == "__main__":
    main()
