"""Seven ways to train a generator on a ring of eight Gaussians, at two paces of the teacher: experiments/gan_ring.json.

    python experiments/gan_ring.py      all runs; about 220 s on one thread

Eight games with different first weights are played side by side (the first axis of every weight), for each method and
pace. The generator has Adam at 0.001; the discriminator has it at the same rate, or at a tenth of it. A method and pace
that is already in the record is not played again.
"""
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gan import make_weights, network

from imagebook.records import Record

RECORD = Path(__file__).with_suffix(".json")
SEEDS, BATCH, WIDTH, NOISE, ROUNDS = 8, 64, 64, 4, 5000
ANGLES = 2 * np.pi * np.arange(8) / 8
MODES = 2 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
SPREAD = 0.1
PACK, UNROLLED, INNER_RATE = 4, 5, 0.05
METHODS = ["saturating", "non-saturating", "packed", "unrolled", "R1", "spectral", "WGAN-GP"]
PACES = {"equal": 1e-3, "slow teacher": 1e-4}
LOOKS = [250, 500, 1000, 2000, 3500, 5000]
PICTURED = [["non-saturating", "slow teacher"], ["non-saturating", "equal"]]
HEADER = {
    "about": "eight Gaussians, standard deviation 0.1, on a circle of radius 2; counts are of 2,000 samples",
    "generator": "4 normal numbers, 64 ReLU, 64 ReLU, 2; Adam 0.001, beta_1 0.5",
    "discriminator": "2 (packed: 8), 64 leaky ReLU, 64 leaky ReLU, 1; Adam 0.001 or 0.0001, beta_1 0.5",
    "rounds": ROUNDS, "batch_size": BATCH, "seeds": SEEDS, "looks": LOOKS,
    "settings": {"critic steps of WGAN-GP": 5, "gradient penalty": 0.1, "R1": 0.5, "pack": PACK,
                 "unrolled steps": UNROLLED, "their rate": INNER_RATE},
    "versions": {"python": platform.python_version(), "tensorflow": tf.__version__, "numpy": np.__version__},
}


def mean_loss(values):
    """Return the sum over seeds of the mean over samples: a gradient of its own for each seed."""
    return tf.reduce_sum(tf.reduce_mean(values, axis=(1, 2)))


class Game:
    """A generator G against a discriminator or critic C, by one of METHODS."""

    def __init__(self, method, rate, seed=0):
        self.method, self.pack = method, PACK if method == "packed" else 1
        self.G = make_weights(NOISE, WIDTH, WIDTH, 2, seed=seed, seeds=SEEDS)
        self.C = make_weights(2 * self.pack, WIDTH, WIDTH, 1, seed=seed + 1000, seeds=SEEDS)
        rng = np.random.default_rng(seed)
        self.directions = [tf.Variable(rng.normal(size=(SEEDS, W.shape[2], 1)).astype("float32")) for W in self.C[::2]]
        self.noise = tf.random.Generator.from_seed(seed)
        beta_2 = 0.9 if method == "WGAN-GP" else 0.999
        self.C_optimizer = keras.optimizers.Adam(rate, beta_1=0.5, beta_2=beta_2)
        self.G_optimizer = keras.optimizers.Adam(1e-3, beta_1=0.5, beta_2=beta_2)
        self.C_optimizer.build(self.C)
        self.G_optimizer.build(self.G)

    def draw(self):
        mode = self.noise.uniform((SEEDS, BATCH), 0, 8, tf.int32)
        return tf.gather(tf.constant(MODES, tf.float32), mode) + SPREAD * self.noise.normal((SEEDS, BATCH, 2))

    def generate(self, z=None):
        return network(self.G, self.noise.normal((SEEDS, BATCH, NOISE)) if z is None else z, tf.nn.relu)

    def judge(self, x, weights=None, update=False):
        """Return logits (SEEDS, B / pack, 1); spectral normalisation divides each kernel by its largest gain."""
        weights = self.C if weights is None else weights
        if self.method == "spectral":
            kernels = [self.normalise(W, u, update) for W, u in zip(weights[::2], self.directions)]
            weights = [part for pair in zip(kernels, weights[1::2]) for part in pair]
        return network(weights, tf.reshape(x, (SEEDS, -1, 2 * self.pack)), tf.nn.leaky_relu)

    def normalise(self, W, u, update):
        """Return W divided by an estimate of its largest singular value: one step of power iteration on u."""
        v = tf.stop_gradient(tf.math.l2_normalize(W @ u, axis=1))
        better = tf.stop_gradient(tf.math.l2_normalize(tf.matmul(W, v, transpose_a=True), axis=1))
        if update:
            u.assign(better)
        return W / tf.matmul(v, W @ better, transpose_a=True)

    def slope(self, x):
        """Return the gradient of the critic by each sample."""
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = self.judge(x)
        return tape.gradient(logits, x)

    def critic_loss(self, real, made, weights=None, update=False):
        on_real, on_made = self.judge(real, weights, update), self.judge(made, weights, update)
        if self.method == "WGAN-GP":
            mix = self.noise.uniform((SEEDS, BATCH, 1))
            steepness = tf.sqrt(tf.reduce_sum(self.slope(mix * real + (1 - mix) * made) ** 2, -1, True) + 1e-12)
            return mean_loss(on_made - on_real) + 0.1 * mean_loss((steepness - 1) ** 2)
        loss = mean_loss(tf.nn.softplus(-on_real) + tf.nn.softplus(on_made))
        if self.method == "R1":
            loss += 0.5 * mean_loss(tf.reduce_sum(self.slope(real) ** 2, -1, True))
        return loss

    def improve_critic(self):
        real, made = self.draw(), self.generate()
        with tf.GradientTape() as tape:
            loss = self.critic_loss(real, made, update=True)
        self.C_optimizer.apply(tape.gradient(loss, self.C), self.C)

    def improve_generator(self):
        with tf.GradientTape() as tape:
            made, weights = self.generate(), None
            if self.method == "unrolled":
                weights, real = [tf.identity(weight) for weight in self.C], self.draw()
                for _ in range(UNROLLED):
                    with tf.GradientTape() as inner:
                        inner.watch(weights)
                        loss = self.critic_loss(real, made, weights)
                    weights = [w - INNER_RATE * g for w, g in zip(weights, inner.gradient(loss, weights))]
            logits = self.judge(made, weights)
            if self.method == "saturating":
                loss = mean_loss(-tf.nn.softplus(logits))
            elif self.method == "WGAN-GP":
                loss = mean_loss(-logits)
            else:
                loss = mean_loss(tf.nn.softplus(-logits))
        self.G_optimizer.apply(tape.gradient(loss, self.G), self.G)

    @tf.function
    def play(self, rounds):
        for _ in tf.range(rounds):
            for _ in range(5 if self.method == "WGAN-GP" else 1):
                self.improve_critic()
            self.improve_generator()


def count(samples):
    """Return (modes covered, share of high quality) of samples of shape (n, 2).

    A sample is of high quality within three standard deviations of the nearest mode; a mode is covered if at least one
    in a hundred samples is of high quality and nearest to it.
    """
    distances = np.linalg.norm(samples[:, None] - MODES, axis=-1)
    good = distances.min(axis=1) < 3 * SPREAD
    shares = np.bincount(distances.argmin(axis=1)[good], minlength=8) / len(samples)
    return int((shares >= 0.01).sum()), round(float(good.mean()), 4)


def run(method, pace):
    game, z = Game(method, PACES[pace]), np.random.default_rng(99).normal(size=(1, 2000, NOISE))
    z = tf.constant(np.repeat(z, SEEDS, axis=0), tf.float32)
    started, result = time.process_time(), {"method": method, "pace": pace, "modes": [], "quality": [], "samples": []}
    for rounds in np.diff(LOOKS, prepend=0):
        game.play(tf.constant(rounds))
        samples = game.generate(z).numpy()
        modes, quality = zip(*map(count, samples))
        result["modes"].append(modes)
        result["quality"].append(quality)
        if [method, pace] in PICTURED:
            result["samples"].append(samples[0, :300].round(2).astype(float).round(2).tolist())
    result["cpu_seconds"] = round(time.process_time() - started, 1)
    return result


def main():
    record = Record(RECORD, HEADER)
    for method in METHODS:
        for pace in PACES:
            if record.holds({"method": method, "pace": pace}):
                continue
            record.add(found := run(method, pace))
            print(method, pace, found["modes"][-1], found["quality"][-1], found["cpu_seconds"], flush=True)


if __name__ == "__main__":
    main()
