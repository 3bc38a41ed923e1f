"""DP-SGD on the small network and 6,144 digits: privacy budgets, clipping norms, batch sizes: experiments/privacy.jsonl.

    python experiments/privacy.py --workers 2

Four plans. "budget": what accuracy each epsilon leaves, at clipping norm 1 and 1,024 images a batch on the average;
epsilon None is clipping without noise. "clip": other clipping norms at epsilon 2, with the rate in proportion to
1 / norm, so that a clipped step keeps its length. "batch": other batch sizes at epsilon 2. "plain": SGD with momentum,
neither clipped nor noisy. Some cells have two or three rates, of which the validation images choose.
Runs with the same seed begin with the same weights. See chapter `privacy`.
"""
import functools
import math
import time

import keras
import numpy as np

from imagebook.studies import Study, Trainer, short, small_network

IMAGES, EPOCHS, DELTA = 6144, 20, 1e-5
RATES = {0.5: (1.0, 2.0), 1.0: (2.0, 4.0), 2.0: (2.0, 4.0), 4.0: (4.0, 6.0), 8.0: (4.0, 6.0), None: (2.0, 4.0, 6.0)}
CELLS = [("budget", epsilon, 1024, 1.0, rate) for epsilon in RATES for rate in RATES[epsilon]]
CELLS += [("clip", 2.0, 1024, clip, rate / clip) for clip in (0.1, 0.3, 3.0, 10.0) for rate in (4.0,)]
CELLS += [("batch", 2.0, size, 1.0, rate) for size, pair in {64: (0.125, 0.25), 256: (0.5, 1.0), 3072: (4.0, 8.0)}.items()
          for rate in pair]
CELLS += [("plain", None, 64, None, rate) for rate in (2.0**-5,)]
FACTORS = ("plan", "epsilon", "batch_size", "clip", "learning_rate")


@functools.cache
def calibrated(sample_rate, steps, epsilon, delta=DELTA):
    """Return the least noise multiplier for which so many Poisson-sampled Gaussian steps are (epsilon, delta)-private."""
    import dp_accounting
    from dp_accounting import pld

    def event(noise):
        step = dp_accounting.PoissonSampledDpEvent(sample_rate, dp_accounting.GaussianDpEvent(noise))
        return dp_accounting.SelfComposedDpEvent(step, steps)

    return dp_accounting.calibrate_dp_mechanism(
        lambda: pld.PLDAccountant(value_discretization_interval=1e-3), event, epsilon, delta, tol=1e-4)


class PrivateTrainer:
    """The small network, trained by DP-SGD: each image's gradient is cut to a length, their sum gets noise.

    data: as for `Trainer`, which draws the first weights and evaluates.
    """

    def __init__(self, data=None):
        import tensorflow as tf

        self.trainer = Trainer(small_network(), keras.optimizers.SGD(), data)
        self.weights = [variable.value for variable in self.trainer.model.trainable_variables]
        self.shapes = [tuple(weight.shape) for weight in self.weights]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.images, self.labels = self.trainer.images, self.trainer.labels
        windows = np.lib.stride_tricks.sliding_window_view(self.images.numpy()[..., 0], (5, 5), axis=(1, 2))[:, ::2, ::2]
        self.windows = tf.constant(windows.reshape(-1, 144, 25))  # what each place of the first layer sees, once for all
        self.clipped_sum = tf.function(self._clipped_sum, input_signature=[
            tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.float32)])

    def _clipped_sum(self, numbers, clip):
        """Return the sum of the clipped gradients of these images, laid out as one vector, and their lengths.

        The gradient of a dense layer's weights for one image is an outer product, that of a convolution a sum of outer
        products over places; so one backward pass to the layers' sums is enough for all images.
        """
        import tensorflow as tf

        labels, count = tf.gather(self.labels, numbers), tf.shape(numbers)[0]
        K1, b1, K2, b2, W, b = self.weights
        p1 = tf.cast(tf.gather(self.windows, numbers), tf.float32) / 255
        with tf.GradientTape() as tape:
            z1 = tf.tensordot(p1, tf.reshape(K1, [25, 8]), 1) + b1
            tape.watch(z1)
            h1 = tf.nn.relu(tf.reshape(z1, [count, 12, 12, 8]))
            z2 = tf.nn.conv2d(h1, K2, 1, "VALID") + b2
            tape.watch(z2)
            h2 = tf.reshape(tf.nn.max_pool2d(tf.nn.relu(z2), 2, 2, "VALID"), [count, 400])
            z3 = h2 @ W + b
            tape.watch(z3)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, z3))
        d1, d2, d3 = tape.gradient(loss, [z1, z2, z3])
        d2 = tf.reshape(d2, [count, 100, 16])
        p2 = tf.reshape(tf.image.extract_patches(h1, [1, 3, 3, 1], [1] * 4, [1] * 4, "VALID"), [count, 100, 72])
        each = [tf.matmul(p1, d1, transpose_a=True), tf.reduce_sum(d1, 1),
                tf.matmul(p2, d2, transpose_a=True), tf.reduce_sum(d2, 1)]
        squares = sum(tf.reduce_sum(tf.square(part), range(1, len(part.shape))) for part in each)
        squares += (tf.reduce_sum(tf.square(h2), 1) + 1) * tf.reduce_sum(tf.square(d3), 1)
        lengths = tf.sqrt(squares)
        factors = tf.minimum(1.0, clip / tf.maximum(lengths, 1e-12))
        sums = [tf.tensordot(factors, part, 1) for part in each]
        sums += [tf.matmul(h2, d3 * factors[:, None], transpose_a=True), tf.reduce_sum(d3 * factors[:, None], 0)]
        return tf.concat([tf.reshape(part, [-1]) for part in sums], 0), lengths

    def put(self, flat):
        for variable, part, shape in zip(
                self.trainer.model.trainable_variables, np.split(flat, np.cumsum(self.sizes)[:-1]), self.shapes):
            variable.assign(part.reshape(shape))

    def flat(self):
        return np.concatenate([np.ravel(variable) for variable in self.trainer.model.trainable_variables])

    def fit(self, seed, members, sample_rate, steps, step_size, clip, noise, watch=None):
        """Take DP-SGD's steps from the model's present weights; return the mean clipped share and the CPU seconds.

        members: numbers of the images that may be used. Each is in a batch with probability sample_rate, independently
        of all others and anew in every step, as the accountant assumes. step_size: learning rate over batch size.
        watch: a function of each step's noisy sum and the sum without noise; what it returns takes the noisy one's place.
        """
        numbers = np.random.default_rng([seed, 2])
        members = np.asarray(members, "int32")
        weights, share, started = self.flat(), [], time.process_time()
        for _ in range(steps):
            chosen = members[numbers.random(len(members)) < sample_rate]
            total, lengths = self.clipped_sum(chosen, clip)
            noisy = total.numpy() + noise * clip * numbers.standard_normal(len(weights)).astype("float32")
            if watch:
                noisy = watch(noisy, total.numpy())
            weights = weights - np.float32(step_size) * noisy
            self.put(weights)
            share.append(np.mean(lengths.numpy() > clip) if len(chosen) else 0)
        return float(np.mean(share)), time.process_time() - started


@functools.cache
def private_trainer():
    return PrivateTrainer()


@functools.cache
def plain_trainer():
    return Trainer(small_network(), keras.optimizers.SGD(momentum=0.9))


def run(settings):
    seed, epsilon, batch_size = settings["seed"], settings["epsilon"], settings["batch_size"]
    steps = EPOCHS * IMAGES // batch_size
    if settings["plan"] == "plain":
        trainer, noise, share = plain_trainer(), 0.0, 0.0
        trainer.start(seed)
        seconds = trainer.fit(seed, settings["learning_rate"], EPOCHS, batch_size)["cpu_seconds"]
    else:
        private = private_trainer()
        trainer, noise = private.trainer, calibrated(batch_size / IMAGES, steps, epsilon) if epsilon else 0.0
        trainer.start(seed)
        share, seconds = private.fit(
            seed, range(IMAGES), batch_size / IMAGES, steps, settings["learning_rate"] / batch_size, settings["clip"], noise)
    validation, tested = trainer.evaluate(*trainer.validation), trainer.evaluate(*trainer.test)
    trained = trainer.evaluate(trainer.images.numpy(), trainer.labels.numpy())
    return {
        "noise": round(noise, 4), "steps": steps, "clipped": short(share), "cpu_seconds": round(seconds, 2),
        "train_accuracy": short(trained[1]), "val_loss": short(validation[0]), "val_accuracy": short(validation[1]),
        "test_accuracy": short(tested[1]),
    }


STUDY = Study(
    __file__, run, factors={name: list(dict.fromkeys(cell[place] for cell in CELLS)) for place, name in enumerate(FACTORS)},
    seeds=3,
    fixed={
        "model": "conv 5×5 stride 2, 8 maps, ReLU; conv 3×3, 16 maps, ReLU; max pooling 2×2; dense 10",
        "images": IMAGES, "epochs": EPOCHS, "delta": DELTA, "neighbours": "one image added or removed",
        "sampling": "Poisson, in every step anew", "optimizer": "SGD without momentum; plain: momentum 0.9",
        "accountant": "dp_accounting.pld.PLDAccountant, interval 0.001",
    },
    about="DP-SGD on 6,144 digits: accuracy by epsilon, clipping norm and batch size",
    group=lambda settings: settings["plan"] == "plain",
    where=lambda settings: tuple(settings[name] for name in FACTORS) in CELLS)

if __name__ == "__main__":
    STUDY.main()
