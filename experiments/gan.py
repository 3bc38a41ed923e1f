"""Play a one-dimensional game with three losses on two densities, frame by frame: experiments/gan_frames.npz.

    python experiments/gan.py      all trainings; about 65 s on one thread

Five games with different first weights are played side by side (the first axis of every weight). The frames show the
first of the five, whatever became of it; `spread` holds the distance of all five. The discriminator has a head start
of 200 steps, and makes four steps for each of the generator. It is trained by Adam; the generator by plain gradient
descent, so that the recorded force on a sample is what moves it. One further training, the saturating loss with Adam
for the generator, is in `spread` only.
"""
import platform
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import norm

from imagebook.records import write_arrays

RECORD = Path(__file__).with_name("gan_frames.npz")
SEEDS, BATCH, WIDTH, HEAD_START, TURNS = 5, 128, 32, 200, 4
START = -2.0  # where the generator begins, left of all the data
PENALTY = 10.0  # strength of the critic's gradient penalty, which is one-sided: see the chapter for why
DATA = {"one bump": ([1.5], 0.5), "two bumps": ([-1.0, 2.0], 0.4)}  # means, standard deviation
LOSSES = {
    "saturating": lambda c: -tf.nn.softplus(c),
    "non-saturating": lambda c: tf.nn.softplus(-c),
    "Wasserstein": lambda c: -c,
}
RATES = {"saturating": 0.03, "non-saturating": 0.03, "Wasserstein": 0.001}
STEPS = np.unique(np.r_[0, np.geomspace(4, 2000, 42).astype(int)])
X = np.linspace(-4, 4, 121)
BANDWIDTH = 0.1  # of the smoothed density of what is generated
QUANTILES = norm.ppf((np.arange(4000) + 0.5) / 4000).astype("float32")
SHOWN = norm.ppf((np.arange(24) + 0.5) / 24).astype("float32")


def make_weights(*sizes, seed, seeds=SEEDS):
    """Return kernels (seeds, d, n) and biases (seeds, 1, n) of a dense network, in turn."""
    rng, weights = np.random.default_rng(seed), []
    for d, n in zip(sizes, sizes[1:]):
        kernel = rng.normal(0, d**-0.5, (seeds, d, n))
        weights += [tf.Variable(kernel.astype("float32")), tf.Variable(tf.zeros((seeds, 1, n)))]
    return weights


def network(weights, x, activation):
    """Apply the dense network to x of shape (seeds, B, d)."""
    *hidden, (kernel, bias) = zip(weights[::2], weights[1::2])
    for W, b in hidden:
        x = activation(x @ W + b)
    return x @ kernel + bias


class Game:
    """A generator G and a discriminator with logit C on one of the densities; `loss` is the generator's."""

    def __init__(self, loss, means, spread, optimizer=None):
        self.loss, self.means, self.deviation = loss, tf.constant(means, tf.float32), spread
        self.G = make_weights(1, WIDTH, WIDTH, 1, seed=0)
        self.G[-1].assign_add(tf.fill(self.G[-1].shape, START))
        self.D = make_weights(1, WIDTH, WIDTH, 1, seed=1)
        self.noise = tf.random.Generator.from_seed(0)
        self.D_optimizer = keras.optimizers.Adam(0.002, beta_1=0.5, beta_2=0.9)
        self.G_optimizer = optimizer or keras.optimizers.SGD(RATES[loss])
        self.D_optimizer.build(self.D)
        self.G_optimizer.build(self.G)

    def generate(self, z):
        return network(self.G, z, tf.tanh)

    def judge(self, x):
        return network(self.D, x, tf.nn.swish)

    def draw(self):
        """Return real samples and generated ones, (SEEDS, BATCH, 1) each."""
        shape = (SEEDS, BATCH, 1)
        heap = self.noise.uniform(shape, 0, len(self.means), tf.int32)
        real = tf.gather(self.means, heap) + self.deviation * self.noise.normal(shape)
        return real, self.generate(self.noise.normal(shape))

    def slope(self, x):
        """Return the derivative of the logit by x."""
        with tf.GradientTape() as tape:
            tape.watch(x)
            logit = self.judge(x)
        return tape.gradient(logit, x)

    def improve_discriminator(self):
        real, made = self.draw()
        with tf.GradientTape() as tape:
            if self.loss == "Wasserstein":
                mix = self.noise.uniform((SEEDS, BATCH, 1))
                slope = self.slope(mix * real + (1 - mix) * made)
                loss = self.judge(made) - self.judge(real) + PENALTY * tf.nn.relu(tf.abs(slope) - 1) ** 2
            else:
                loss = tf.nn.softplus(-self.judge(real)) + tf.nn.softplus(self.judge(made))
            loss = tf.reduce_sum(tf.reduce_mean(loss, axis=(1, 2)))
        self.D_optimizer.apply(tape.gradient(loss, self.D), self.D)

    def improve_generator(self):
        z = self.noise.normal((SEEDS, BATCH, 1))
        with tf.GradientTape() as tape:
            loss = LOSSES[self.loss](self.judge(self.generate(z)))
            loss = tf.reduce_sum(tf.reduce_mean(loss, axis=(1, 2)))
        self.G_optimizer.apply(tape.gradient(loss, self.G), self.G)

    @tf.function
    def warm_up(self, steps):
        for _ in tf.range(steps):
            self.improve_discriminator()

    @tf.function
    def play(self, rounds):
        for _ in tf.range(rounds):
            for _ in range(TURNS):
                self.improve_discriminator()
            self.improve_generator()

    def frame(self, truth):
        """Return what is recorded at one step; `truth` are the data's quantiles."""
        repeat = lambda values: tf.repeat(tf.constant(values, tf.float32)[None, :, None], SEEDS, axis=0)
        made = self.generate(repeat(QUANTILES)).numpy()[..., 0]
        samples = self.generate(repeat(SHOWN))
        logit = self.judge(repeat(X)).numpy()[0, :, 0]
        with tf.GradientTape() as tape:
            tape.watch(samples)
            loss = LOSSES[self.loss](self.judge(samples))
        force = -tape.gradient(loss, samples).numpy()[0, :, 0]
        return {
            "p_generated": norm.pdf(X[:, None], made[0], BANDWIDTH).mean(axis=1),
            "discriminator": logit if self.loss == "Wasserstein" else 1 / (1 + np.exp(-logit)),
            "samples": samples.numpy()[0, :, 0],
            "gradients": force,
            "spread": np.abs(np.sort(made, axis=1) - truth).mean(axis=1),
        }


def quantiles(means, spread):
    """Return the quantiles of an even mixture of normal densities, as many as QUANTILES."""
    grid = np.linspace(-6, 6, 24_001)
    below = np.mean([norm.cdf(grid, mean, spread) for mean in means], axis=0)
    return np.interp((np.arange(len(QUANTILES)) + 0.5) / len(QUANTILES), below, grid)


def record_game(loss, data, optimizer=None):
    """Play one game (five at once) and return its frames, stacked."""
    game, truth, frames = Game(loss, *DATA[data], optimizer), quantiles(*DATA[data]), []
    game.warm_up(tf.constant(HEAD_START))
    for pause in np.diff(STEPS, prepend=0):
        game.play(tf.constant(pause))
        frames.append(game.frame(truth))
    print(loss, data, frames[-1]["spread"].round(3), flush=True)
    return {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}


def main():
    games = [[record_game(loss, data) for data in DATA] for loss in LOSSES]
    adam = record_game("saturating", "one bump", keras.optimizers.Adam(0.002, beta_1=0.5))
    stack = lambda name: np.array([[game[name] for game in row] for row in games])
    arrays = {name: stack(name).astype("float16") for name in ("p_generated", "discriminator", "samples", "gradients")}
    p_data = np.array([norm.pdf(X[:, None], means, spread).mean(axis=1) for means, spread in DATA.values()])
    versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "numpy": np.__version__}
    write_arrays(
        RECORD, runs=list(LOSSES), data=list(DATA), critic=["Wasserstein"], steps=STEPS, x=X.astype("float32"),
        p_data=p_data.astype("float32"),
        distance=stack("spread")[..., 0].astype("float16"), spread=stack("spread").astype("float16"),
        spread_adam=adam["spread"].astype("float16"), versions=[f"{name} {value}" for name, value in versions.items()],
        **arrays)


if __name__ == "__main__":
    main()
