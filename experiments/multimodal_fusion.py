"""A digit seen and a digit heard, each spoilt by noise, alone and together: experiments/multimodal_fusion.jsonl.

    python experiments/multimodal_fusion.py --workers 2

The sounds are the synthetic voices of experiments/multimodal_speech.npz. Every image is given a clip of the same digit,
drawn at random, so that image and sound are independent given the digit: by construction, not by nature. Networks are
trained with damage of a random strength and are not told how strong it is; the speakers who test are others than those
who train.
"""
import functools
import time
from pathlib import Path

import numpy as np

import imagebook
from imagebook.studies import Study, load_split, short

SPEECH = Path(imagebook.__file__).resolve().parents[1] / "experiments" / "multimodal_speech.npz"
DAMAGES = {  # of an image, from none to nearly all: deviation of the noise; side of a grey square, in pixels
    "noise": [0.0, 0.5, 1.0, 1.5, 2.0],
    "square": [0, 10, 14, 18, 22],
}
RATIOS = [20.0, 5.0, 0.0, -5.0, -10.0]  # power of the speech to that of the noise, in decibels
EPOCHS, LEARNING_RATE, BATCH_SIZE, WEIGHTS = 12, 0.005, 128, [0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0]
SYSTEMS = ["image", "sound", "added", "joined", "joined, dropout"]
FIXED = {
    "optimizer": "Adam, learning rate 0.005, rising for a fifth of the steps, then falling to 0 along half a cosine",
    "epochs": EPOCHS, "batch_size": BATCH_SIZE, "image_damage": DAMAGES, "sound_to_noise_decibels": RATIOS,
    "encoders": "the small network without its last layer, for images 28×28 and for sounds of 24 frames × 16 bands",
    "systems": "image; sound: dense 10. added: logits of both added and trained together. joined: both in one vector, "
               "dense 64, ReLU, dense 10. dropout: in a fifth of the pairs the image is hidden, in a fifth the sound",
}


def spoil_images(images, kind, strength, rng):
    """Return images between 0 and 1, uint8 before, with noise or a grey square of each image's own strength."""
    images = images[..., 0].astype("float32") / 255
    strength = np.broadcast_to(strength, len(images))
    if kind == "noise":
        noise = rng.standard_normal(images.shape, dtype="float32") * strength[:, None, None]
        return (images + noise)[..., None].astype("float32")
    top, left = (rng.random(len(images)) * (28.999 - strength) for _ in range(2))
    rows, columns = np.arange(28)[None, :, None], np.arange(28)[None, None, :]
    top, left, side = (np.floor(x)[:, None, None] for x in (top, left, strength))
    hidden = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return np.where(hidden, 0.5, images)[..., None].astype("float32")


def spoil_sounds(clips, decibels, rng):
    """Return clips (stored units of 2 dB above -60 dB) with noise, as numbers near 0 to 1.

    Powers of independent sounds add up on the average. The noise has the same mean power in every band; a band of a
    few frequencies fluctuates like a gamma variable.
    """
    power = 10 ** ((clips.astype("float32") * 2 - 60) / 10)
    spoken = np.where(clips > 0, power, 0)
    mean = spoken.sum((1, 2)) / np.maximum((spoken.sum(2) > 0).sum(1), 1) / clips.shape[2]
    level = mean / 10 ** (np.broadcast_to(decibels, len(clips)) / 10)
    noise = level[:, None, None] * rng.standard_gamma(3.0, clips.shape, dtype="float32") / 3
    return ((10 * np.log10(power + noise) + 60) / 60)[..., None].astype("float32")


@functools.cache
def speech():
    """Return for training, validation and test (clips by digit): lists of ten arrays (n, frames, bands)."""
    with np.load(SPEECH) as file:
        clips, digits, splits = file["clips"], file["digits"], file["splits"]
    return [[clips[(digits == digit) & (splits == split)] for digit in range(10)] for split in range(3)]


def say(by_digit, digits, rng):
    """Return a random clip of each digit."""
    return np.stack([by_digit[digit][rng.integers(len(by_digit[digit]))] for digit in digits])


class System:
    """One network from an image and a sound to ten logits, compiled once and trained many times."""

    def __init__(self, name):
        import keras
        import tensorflow as tf
        from keras import layers

        self.name = name

        def encoder(shape):
            return keras.Sequential([
                keras.Input(shape), layers.Conv2D(8, 5, strides=2, activation="relu"),
                layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()])

        self.eye, self.ear = encoder((28, 28, 1)), encoder((24, 16, 1))
        self.heads = [layers.Dense(10), layers.Dense(10)]
        self.joint = keras.Sequential([keras.Input((400 + 128,)), layers.Dense(64, activation="relu"), layers.Dense(10)])
        for head, width in zip(self.heads, (400, 128)):
            head.build((None, width))
        parts = {"image": [self.eye, self.heads[0]], "sound": [self.ear, self.heads[1]],
                 "added": [self.eye, self.ear, *self.heads]}.get(name, [self.eye, self.ear, self.joint])
        self.variables = [variable for part in parts for variable in part.trainable_variables]
        self.optimizer = keras.optimizers.Adam()
        self.optimizer.build(self.variables)
        self.first = [variable.numpy() for variable in self.optimizer.variables]
        self.step = tf.function(self._step)
        self.see, self.hear = tf.function(self.eye), tf.function(self.ear)

    def start(self, seed):
        """Draw all weights for this seed (Glorot's uniform distribution, biases zero) and empty Adam's memory."""
        rng = np.random.default_rng([seed, 0])
        for variable in self.variables:
            shape = tuple(variable.shape)
            limit = np.sqrt(6 / (int(np.prod(shape[:-2])) * sum(shape[-2:]))) if len(shape) > 1 else 0.0
            variable.assign(rng.uniform(-limit, limit, shape).astype("float32"))
        for variable, value in zip(self.optimizer.variables, self.first):
            variable.assign(value)

    def logits(self, seen, heard):
        """Return the logits for what the two encoders answered."""
        import tensorflow as tf

        if self.name == "image":
            return self.heads[0](seen)
        if self.name == "sound":
            return self.heads[1](heard)
        if self.name == "added":
            return self.heads[0](seen) + self.heads[1](heard)
        return self.joint(tf.concat([seen, heard], 1))

    def _step(self, rate, images, sounds, digits, keep):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            seen, heard = self.eye(images) * keep[:, :1], self.ear(sounds) * keep[:, 1:]
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(digits, self.logits(seen, heard))
            loss = tf.reduce_mean(losses)
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply(tape.gradient(loss, self.variables), self.variables)
        return loss


@functools.cache
def system(name):
    """Return the network of this name, compiled when it is first used."""
    return System(name)


def train(networks, seed, kind):
    """Train all networks on the same pairs, each from the first weights of this seed."""
    (images, labels), *_ = load_split()
    for network in networks:
        network.start(seed)
    rng = np.random.default_rng([seed, 1])
    steps = len(images) // BATCH_SIZE
    done = np.arange(1, EPOCHS * steps + 1) / (EPOCHS * steps)
    rates = LEARNING_RATE * np.minimum(done / 0.2, np.cos(np.pi / 2 * (done - 0.2) / 0.8) ** 2).astype("float32")
    for epoch in np.split(rates, EPOCHS):
        order = rng.permutation(len(images))
        digits, draw = labels[order], rng.random(len(images))
        seen = spoil_images(images[order], kind, rng.uniform(0, DAMAGES[kind][-1], len(images)), rng)
        heard = spoil_sounds(say(speech()[0], digits, rng), rng.uniform(RATIOS[-1], RATIOS[0], len(images)), rng)
        for network in networks:
            keep = np.ones((len(images), 2), "float32")
            if network.name.endswith("dropout"):
                keep[draw < 0.2, 0] = keep[draw > 0.8, 1] = 0
            for rate, batch in zip(epoch, np.arange(len(images)).reshape(steps, -1)):
                network.step(rate, seen[batch], heard[batch], digits[batch], keep[batch])


def log_softmax(logits):
    """Return the logarithms of the probabilities."""
    logits = logits - logits.max(1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def answers_of(networks, encoded, prior, a, b):
    """Return the scores of each system for images at damage a with sounds at noise b."""
    scores = {name: networks[name].logits(encoded[name][0][a], encoded[name][1][b]).numpy() for name in networks}
    scores["late"] = log_softmax(scores["image"]) + log_softmax(scores["sound"]) - prior
    return scores


def run(settings):
    """Train five networks and return how each reads, at every strength of damage, and when one signal fails."""
    (_, labels), _, (test_images, test_labels) = load_split()
    test_images, test_labels = test_images[::2], test_labels[::2]  # both halves of MNIST's test set, easy and hard
    kind, seed = settings["damage"], settings["seed"]
    started = time.process_time()
    networks = {name: system(name) for name in SYSTEMS}
    train(networks.values(), seed, kind)
    seconds = time.process_time() - started
    rng = np.random.default_rng([seed, 2])
    prior = np.log(np.bincount(labels, minlength=10) / len(labels))
    liars = (test_labels + rng.integers(1, 10, len(test_labels))) % 10
    images = [spoil_images(test_images, kind, strength, rng) for strength in DAMAGES[kind]]
    clips = say(speech()[2], test_labels, rng)
    sounds = [spoil_sounds(clips, ratio, rng) for ratio in RATIOS]
    lies = [spoil_sounds(say(speech()[2], liars, rng), ratio, rng) for ratio in RATIOS]


    def look(function, inputs):
        return [np.concatenate([function(part).numpy() for part in np.split(x, 5)]) for x in inputs]

    encoded = {name: (look(n.see, images), look(n.hear, sounds), look(n.hear, lies)) for name, n in networks.items()}
    grid = {name: [] for name in [*networks, "late"]}
    for a in range(5):
        rows = [answers_of(networks, encoded, prior, a, b) for b in range(5)]
        for name in grid:
            grid[name].append([short(np.mean(row[name].argmax(1) == test_labels)) for row in rows])
    middle = answers_of(networks, encoded, prior, 2, 2)
    weights = [short(np.mean((log_softmax(middle["image"]) + weight * (log_softmax(middle["sound"]) - prior)).argmax(1) == test_labels))
               for weight in WEIGHTS]
    conflict = {name: [] for name in grid}
    for b in range(5):
        heard = {name: (encoded[name][0], encoded[name][2]) for name in networks}
        scores = answers_of(networks, heard, prior, 2, b)
        for name in grid:
            answers = scores[name].argmax(1)
            conflict[name].append([short(np.mean(answers == test_labels)), short(np.mean(answers == liars))])
    missing = {}
    for name in SYSTEMS[2:]:
        n, (seen, heard, _) = networks[name], encoded[name]
        missing[name] = [
            short(np.mean(n.logits(seen[1], np.zeros_like(heard[0])).numpy().argmax(1) == test_labels)),
            short(np.mean(n.logits(np.zeros_like(seen[0]), heard[1]).numpy().argmax(1) == test_labels))]
    losses = {name: short(-np.mean(log_softmax(score)[np.arange(len(score)), test_labels])) for name, score in middle.items()}
    return {
        "test_accuracy": grid["late"][2][2], "grid": grid, "weights": weights, "conflict": conflict, "missing": missing,
        "cross_entropy": losses, "cpu_seconds": round(seconds, 2)}


STUDY = Study(
    __file__, run, {"damage": list(DAMAGES)}, 3, FIXED, "digits seen and heard, alone and together, under damage")

if __name__ == "__main__":
    STUDY.main()
