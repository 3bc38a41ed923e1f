"""Train five recurrent cells on the adding problem at up to six lengths, four rates, three seeds: experiments/rnn.json.

    python experiments/rnn.py                          all 312 runs; about 15 minutes of one thread
    python experiments/rnn.py --lengths 10 --seconds   a part, and its time

A sequence of T steps holds two numbers a step: a value between 0 and 1, and a mark that is 1 at one step of the first
half and one of the second. The network is asked for the sum of the two marked values after the last step. Every batch
is fresh, so nothing can be learnt by heart; 512 sequences validate and 4,096 others test, once, after the last step.
The twelve networks of a cell and a length (rates × seeds) train side by side, as the first axis of every array. What
is in the record already is not run again. Set TF_NUM_INTRAOP_THREADS=1 for times that compare.
"""
import argparse
import math
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from imagebook.records import read_runs, short, write_runs

RECORD = Path(__file__).with_suffix(".json")
CELLS = ["simple", "orthogonal", "identity", "lstm", "gru"]
LENGTHS = [10, 20, 40, 80, 160, 320]
LONGEST = {"lstm": 80, "gru": 80}  # dear, and the chapter on gates needs no more
RATES = [3e-4, 1e-3, 3e-3, 1e-2]
SEEDS = [0, 1, 2]
UNITS, BATCH_SIZE, STEPS, EVERY, CLIP = 32, 32, 3000, 150, 1.0
HEADER = {
    "about": "adding problem: mean squared error on validation sequences every 150 steps, on test sequences at the end",
    "cells": "simple, orthogonal: tanh, recurrent kernel Glorot uniform or orthogonal; identity: ReLU; Keras's lstm, gru",
    "units": UNITS,
    "batch_size": BATCH_SIZE,
    "steps": STEPS,
    "every": EVERY,
    "clip": CLIP,
    "optimizer": "Adam",
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


def sequences(seed, many, length):
    """Return (inputs, sums): shapes (length, many, 2) and (many, 1), float32; `seed` is a pair of numbers."""
    seeds = tf.random.split(seed, 3)
    values = tf.random.stateless_uniform((length, many), seeds[0])
    half = length // 2
    first = tf.random.stateless_uniform((many,), seeds[1], 0, half, tf.int32)
    second = tf.random.stateless_uniform((many,), seeds[2], half, length, tf.int32)
    marks = tf.one_hot(first, length, axis=0) + tf.one_hot(second, length, axis=0)
    return tf.stack([values, marks], axis=-1), tf.reduce_sum(values * marks, axis=0)[:, None]


def first_weights(cell, seed):
    """Return kernel, recurrent kernel, bias, and the last layer's two, as Keras would draw them."""
    keras.utils.set_random_seed(seed)
    if cell in ("lstm", "gru"):
        layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell](UNITS)
    else:
        start = {"simple": "glorot_uniform"}.get(cell, cell)
        layer = keras.layers.SimpleRNN(UNITS, recurrent_initializer=start)
    model = keras.Sequential([keras.Input((None, 2)), layer, keras.layers.Dense(1)])
    return model.get_weights()


def advance(cell, state, x, weights):
    """Return the state one step later: (h,) or, for lstm, (h, c). All arrays have a first axis of networks."""
    kernel, recurrent, bias = weights[:3]
    h = state[0]
    if cell == "gru":  # reset_after, as in Keras: two rows of biases, one for each product
        z, r, new = tf.split(x @ kernel + bias[:, :1], 3, axis=-1)
        z_h, r_h, new_h = tf.split(h @ recurrent + bias[:, 1:], 3, axis=-1)
        z = tf.sigmoid(z + z_h)
        return (z * h + (1 - z) * tf.tanh(new + tf.sigmoid(r + r_h) * new_h),)
    total = x @ kernel + h @ recurrent + bias
    if cell == "lstm":
        i, f, new, o = tf.split(total, 4, axis=-1)
        c = tf.sigmoid(f) * state[1] + tf.sigmoid(i) * tf.tanh(new)
        return tf.sigmoid(o) * tf.tanh(c), c
    return (tf.nn.relu(total) if cell == "identity" else tf.tanh(total),)


def errors(cell, weights, x, y):
    """Return the mean squared error of each network; x of shape (length, networks, many, 2)."""
    length, many = x.shape[0], x.shape[2]
    start = tf.zeros((len(RATES) * len(SEEDS), many, UNITS))
    state = (start, start) if cell == "lstm" else (start,)
    for t in tf.range(length):
        tf.autograph.experimental.set_loop_options(maximum_iterations=length)
        state = advance(cell, state, x[t], weights)
    return tf.reduce_mean((state[0] @ weights[3] + weights[4] - y) ** 2, axis=(1, 2))


class Study:
    """The networks of one cell at one length, a rate and a seed each: rates vary slowest."""

    def __init__(self, cell, length):
        self.cell, self.length = cell, length
        drawn = [first_weights(cell, seed) for _ in RATES for seed in SEEDS]
        stacked = [np.stack(arrays) for arrays in zip(*drawn)]
        self.weights = [tf.Variable(a[:, None] if a.ndim == 2 else a) for a in stacked]
        self.means = [tf.Variable(tf.zeros_like(w)) for w in self.weights]
        self.squares = [tf.Variable(tf.zeros_like(w)) for w in self.weights]
        self.rates = tf.constant(np.repeat(RATES, len(SEEDS))[:, None, None], tf.float32)

    @tf.function(jit_compile=True)
    def train_step(self, step):
        """One step of Adam for every network, its own gradient clipped to the norm CLIP."""
        x, y = zip(*[sequences((step, seed), BATCH_SIZE, self.length) for seed in SEEDS])
        x = tf.tile(tf.stack(x, axis=1), (1, len(RATES), 1, 1))
        y = tf.tile(tf.stack(y), (len(RATES), 1, 1))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(errors(self.cell, self.weights, x, y))
        gradients = tape.gradient(loss, self.weights)
        norm = tf.sqrt(sum(tf.reduce_sum(g**2, axis=(1, 2), keepdims=True) for g in gradients))
        factor = CLIP / tf.maximum(norm, CLIP)
        count = tf.cast(step + 1, tf.float32)
        rates = self.rates * tf.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        for w, m, s, g in zip(self.weights, self.means, self.squares, gradients):
            m.assign(0.9 * m + 0.1 * factor * g)
            s.assign(0.999 * s + 0.001 * (factor * g) ** 2)
            w.assign_sub(rates * m / (tf.sqrt(s) + 1e-7))

    @tf.function(jit_compile=True)
    def measure(self, seed, many):
        x, y = sequences((seed, 10**6), many, self.length)
        x = tf.tile(x[:, None], (1, len(RATES) * len(SEEDS), 1, 1))
        return errors(self.cell, self.weights, x, y)

    def run(self):
        """Train all twelve; return their records."""
        started, curve = time.process_time(), []
        for step in range(STEPS):
            self.train_step(tf.constant(step))
            if (step + 1) % EVERY == 0:
                curve.append(self.measure(0, 512).numpy())
        test = self.measure(1, 4096).numpy()
        seconds = round((time.process_time() - started) / len(test), 2)
        for index, (rate, seed) in enumerate((rate, seed) for rate in RATES for seed in SEEDS):
            yield {
                "cell": self.cell, "length": self.length, "learning_rate": rate, "seed": seed,
                "validation": [short(values[index]) for values in curve],
                "test": short(test[index]), "cpu_seconds": seconds,
            }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="default: all")
    parser.add_argument("--seconds", action="store_true", help="print the time of each part")
    options = parser.parse_args()
    runs = read_runs(RECORD, HEADER)
    for length in options.lengths:
        for cell in CELLS:
            if length > LONGEST.get(cell, length) or any((run["cell"], run["length"]) == (cell, length) for run in runs):
                continue
            started = time.process_time()
            runs.extend(Study(cell, length).run())
            write_runs(RECORD, HEADER, runs)
            best = min(run["test"] or math.inf for run in runs[-12:])
            times = f"  {time.process_time() - started:.0f} s" if options.seconds else ""
            print(f"{cell:10} {length:4}  best {best:.5f}{times}", flush=True)


if __name__ == "__main__":
    main()
