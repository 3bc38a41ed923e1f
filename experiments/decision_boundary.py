"""Train small networks on points of the plane and keep their weights as they train: experiments/decision_boundary.npz.

    python experiments/decision_boundary.py    all 252 runs; about 3 minutes on one thread

Four data sets, seven sizes of the hidden layers, three activation functions, three starts each: plain gradient
descent on all training points at once. The figure `imagebook.widgets.DecisionBoundary` shows them.
"""
from pathlib import Path

import numpy as np
from sklearn.datasets import make_circles
from sklearn.decomposition import PCA

from imagebook import load_mnist
from imagebook.records import write_arrays

RECORD = Path(__file__).with_suffix(".npz")
TRAINING, NEW = 160, 400  # points of each data set: those that are learnt from, and fresh ones to be judged by
RATE = 0.3
STEPS = [0, 1, 3, 7, 15, 30, 60, 120, 250, 500, 1000, 2000, 4000, 8000, 14000, 20000]
HIDDEN = [[1], [2], [3], [4], [8], [16], [4, 4]]
SEEDS = [0, 1, 2]
ACTIVATIONS = {  # each with its derivative, written in terms of the weighted sum and of the output
    "linear": (lambda z: z, lambda z, h: np.ones_like(z)),
    "tanh": (np.tanh, lambda z, h: 1 - h**2),
    "ReLU": (lambda z: np.maximum(z, 0), lambda z, h: (z > 0).astype(float)),
}


def clouds(rng, size):
    """Return points in four clouds at the corners of a square, classes alternating: exclusive or."""
    corner = rng.integers(0, 2, (size, 2))
    return 2.0 * corner - 1 + rng.normal(0, 0.38, (size, 2)), corner.sum(axis=1) % 2


def rings(rng, size):
    """Return points on two noisy rings, one inside the other."""
    points, labels = make_circles(size, noise=0.13, factor=0.45, random_state=int(rng.integers(2**31)))
    return 1.5 * points, labels


def spirals(rng, size):
    """Return points on two arms that wind around each other."""
    labels = rng.integers(0, 2, size)
    turn = np.sqrt(rng.uniform(0.02, 1, size))
    angle = 2.25 * np.pi * turn + np.pi * labels
    arms = 1.9 * turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return arms + rng.normal(0, 0.09, (size, 2)), labels


def digits(rng, size):
    """Return fours and nines of MNIST's training set, in the plane of the two directions in which they vary most."""
    (images, classes), _ = load_mnist()
    chosen = rng.permutation(np.flatnonzero((classes == 4) | (classes == 9)))[:size]
    both = (classes == 4) | (classes == 9)
    plane = PCA(2, svd_solver="full").fit(images[both][:3000].reshape(-1, 784) / 255)
    points = plane.transform(images[chosen].reshape(size, 784) / 255)
    return points / 2.6, (classes[chosen] == 9).astype(int)


DATA = {"clouds": clouds, "rings": rings, "spirals": spirals, "digits": digits}


def start(hidden, seed):
    """Return first weights for layers of these sizes between 2 inputs and 2 logits, as (kernel, bias) pairs.

    He's rule for the kernels; small random biases, so that not every fold begins at the origin.
    """
    rng = np.random.default_rng(seed)
    sizes = [2, *hidden, 2]
    return [(rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs)), rng.normal(0, 0.3, outputs))
            for inputs, outputs in zip(sizes, sizes[1:])]


def train(points, labels, hidden, activation, seed, steps=STEPS, rate=RATE):
    """Return the weights after each of `steps` steps of gradient descent, shape (len(steps), parameters).

    points: (n, 2); labels: (n,), 0 or 1. A row holds kernel, bias, kernel, bias, ... as in `start`, flattened.
    """
    f, slope = ACTIVATIONS[activation]
    layers = [[kernel.copy(), bias.copy()] for kernel, bias in start(hidden, seed)]
    truth, frames = np.eye(2)[labels], []
    for step in range(steps[-1] + 1):
        if step in steps:
            frames.append(np.concatenate([part.ravel() for layer in layers for part in layer]))
        sums, outputs = [], [points]
        for kernel, bias in layers:
            sums.append(outputs[-1] @ kernel + bias)
            outputs.append(f(sums[-1]))
        logits = sums[-1] - sums[-1].max(axis=1, keepdims=True)
        powers = np.exp(logits)
        delta = (powers / powers.sum(axis=1, keepdims=True) - truth) / len(points)
        for index in reversed(range(len(layers))):
            kernel, bias = layers[index]
            gradients = outputs[index].T @ delta, delta.sum(axis=0)
            if index:
                delta = (delta @ kernel.T) * slope(sums[index - 1], outputs[index])
            layers[index] = [kernel - rate * gradients[0], bias - rate * gradients[1]]
    return np.array(frames)


def samples():
    """Return training points, their labels, new points and their labels, each with one entry a data set."""
    parts = []
    for number, make in enumerate(DATA.values()):
        points, labels = make(np.random.default_rng(100 + number), TRAINING + NEW)
        mixed = np.random.default_rng(200 + number).permutation(TRAINING + NEW)
        points, labels = points[mixed].astype(np.float16), labels[mixed].astype(np.uint8)
        parts.append((points[:TRAINING], labels[:TRAINING], points[TRAINING:], labels[TRAINING:]))
    return [np.stack(part) for part in zip(*parts)]


def main():
    points, labels, new_points, new_labels = samples()
    weights = []
    for number, data in enumerate(DATA):
        for hidden in HIDDEN:
            for activation in ACTIVATIONS:
                for seed in SEEDS:
                    given = points[number].astype(float), labels[number]
                    weights.append(train(*given, hidden, activation, seed).astype(np.float16).ravel())
            print(data, hidden, flush=True)
    write_arrays(
        RECORD, data=list(DATA), hidden=["+".join(map(str, sizes)) for sizes in HIDDEN], activation=list(ACTIVATIONS),
        seed=SEEDS, step=STEPS, weights=np.concatenate(weights),
        points=points, labels=labels, new_points=new_points, new_labels=new_labels,
    )


if __name__ == "__main__":
    main()
