"""Train networks that write digits, measure them and store them: experiments/dcgan.json, dcgan.npz, digit_writer.npz.

    python experiments/dcgan.py                  every part; a run that is in the record is not run again
    python experiments/dcgan.py models few       some of them, and --seconds for their time

models   A conditional GAN, a VAE, a VAE whose KL term counts three times, and a diffusion model, trained for about the
         same time of one core each; and a DCGAN that is not told the class. Seed 0 is stored: the GAN and the second
         VAE for the page, the diffusion model beside this file.
real     The same measurements of real digits, the validation images: what no network can be expected to beat.
strides  The GAN with kernels of 3 and 4 at stride 2, and with resizing followed by a convolution: its spectrum.
few      GANs trained on 100, 300 and 1,000 digits and nothing else, and classifiers trained on these digits with what
         those GANs write, without it, and with shifted copies; and with a GAN that has seen all digits, as a warning.

Networks learn from the first 50,000 images of MNIST's training set; the last 10,000 are for choices; the test set is
looked at once a run, at the end. Set OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 for times that compare: then all
parts take about 25 minutes of one core.
"""
import argparse
import functools
import platform
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from scipy.spatial.distance import cdist

from imagebook import load_mnist
from imagebook.records import Record, short, write_arrays
from imagebook.widgets.digit_pad import read_network

RECORD = Path(__file__).with_suffix(".json")
PICTURES = RECORD.with_suffix(".npz")
WRITER = RECORD.parents[1] / "imagebook" / "files" / "digit_writer.npz"
SEEDS = [0, 1, 2]
BATCH, LATENT, DEEP, MIDDLE, CLASSES = 64, 32, 48, 24, 10
STEPS = {"GAN": 2400, "VAE": 3600, "VAE, 3 KL": 3600, "diffusion": 1650, "DCGAN": 2400}
RATES = {"GAN": 1e-3, "VAE": 3e-3, "diffusion": 2e-3}  # the VAE's was chosen on validation images, of 1e-3 and 3e-3
LOOKS = [100, 200, 400, 800, 1600, 2400]  # steps after which a GAN is measured on validation images
NOISE_STEPS = 50  # of the diffusion model
SAMPLES = 2000  # for each measurement
STRIDE_STEPS, STRIDE_LOOKS = 400, [0, 50, 150, 400]
FEW, FEW_STEPS, READER_STEPS = [100, 300, 1000], 500, 400
HEADER = {
    "about": "networks that write digits; the parts are described in dcgan.py",
    "settings": {"steps": STEPS, "rates": RATES, "batch_size": BATCH, "latent": LATENT, "samples": SAMPLES, "noise_steps": NOISE_STEPS,
                 "stride_steps": STRIDE_STEPS, "few_steps": FEW_STEPS, "reader_steps": READER_STEPS},
    "versions": {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    },
}


# Data, and the judge ------------------------------------------------------------------------------------------------


@functools.cache
def digits():
    """Return (images, labels) to train, validate and test with; images (n, 28, 28), uint8."""
    (x, y), test = load_mnist()
    return {"train": (x[:50_000], y[:50_000]), "validation": (x[50_000:], y[50_000:]), "test": test}


@functools.cache
def judge():
    """Return the article's network, trained (test accuracy 0.9903): images 0 to 1 to 128 features and 10 logits."""
    arrays = read_network()
    image = keras.Input((28, 28, 1))
    h = layers.Conv2D(32, 3, activation="relu")(image)
    h = layers.Flatten()(layers.MaxPooling2D()(layers.Conv2D(64, 3, activation="relu")(h)))
    features = layers.Dense(128, activation="relu")(h)
    model = keras.Model(image, [features, layers.Dense(10)(features)])
    weights, start = [], 0
    for layer in range(4):
        kernel = arrays[f"kernel_{layer}"]
        part = slice(start, start := start + kernel.shape[-1])
        weights += [kernel * arrays["scales"][part], arrays["biases"][part]]
    model.set_weights(weights)
    return tf.function(functools.partial(model, training=False), reduce_retracing=True)


def look(images, batch=500):
    """Return features, shape (n, 128), and probabilities, shape (n, 10), of images from 0 to 1."""
    parts = []
    for start in range(0, len(images), batch):
        part = np.asarray(images[start:start + batch], np.float32).reshape(-1, 28, 28, 1)
        features, logits = judge()(tf.constant(part))
        parts.append((features.numpy(), tf.nn.softmax(logits).numpy()))
    return [np.concatenate(pair) for pair in zip(*parts)]


@functools.cache
def real(part):
    """Return the features of real images: "train", "validation" or "test"."""
    return np.concatenate([look(chunk / 255)[0] for chunk in np.array_split(digits()[part][0], 10)])


@functools.cache
def moments(part):
    return real(part).mean(axis=0, dtype=np.float64), np.cov(real(part), rowvar=False)


def frechet(features, part):
    """Return the squared 2-Wasserstein distance of the Gaussians with the moments of two sets of features."""
    mean, covariance = features.mean(axis=0, dtype=np.float64), np.cov(features, rowvar=False)
    other_mean, other = moments(part)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ other @ root).clip(0)).sum()
    return ((mean - other_mean) ** 2).sum() + np.trace(covariance) + np.trace(other) - 2 * cross


def covered(points, centres, k=3):
    """Return the share of points that lie in the ball of a centre, as wide as the distance to its k-th neighbour."""
    radius = np.sort(cdist(centres, centres), axis=1)[:, k]
    return np.mean((cdist(points, centres) <= radius).any(axis=1))


def nearest(points, others):
    """Return the distance of each point to the nearest of the others."""
    points, others = np.asarray(points, np.float32), np.asarray(others, np.float32)
    squares = (points**2).sum(axis=1)
    best = np.full(len(points), np.inf)
    for chunk in np.array_split(others, max(1, len(others) // 5000)):
        distance = squares[:, None] + (chunk**2).sum(axis=1) - 2 * points @ chunk.T
        best = np.minimum(best, distance.min(axis=1))
    return np.sqrt(best.clip(0))


def quantiles(values):
    return [short(value) for value in np.quantile(values, [0.01, 0.25, 0.5, 0.75, 0.99])]


def measure(images, asked=None):
    """Return what is recorded of written digits: images from 0 to 1, and the digits that were asked for."""
    features, p = look(images)
    chosen = np.random.default_rng(0).permutation(10_000)[:SAMPLES]
    truth, half = real("test")[chosen], slice(0, SAMPLES // 2)
    found = {
        "frechet": short(frechet(features, "test")),
        "precision": short(covered(features, truth)), "recall": short(covered(truth, features)),
        "confidence": short(p.max(axis=1).mean()), "shares": np.bincount(p.argmax(axis=1), minlength=10).tolist(),
        "near_pixels": quantiles(nearest(images[half].reshape(-1, 784), digits()["train"][0].reshape(-1, 784) / np.float32(255))),
        "near_features": quantiles(nearest(features[half], real("train"))),
    }
    if asked is not None:
        found["agreement"] = short(np.mean(p.argmax(axis=1) == asked))
        found["by_class"] = [short(np.mean(p[asked == k].argmax(axis=1) == k)) for k in range(10)]
    return found


def ask(seed, many=SAMPLES):
    """Return the digits to write, in the proportions of the validation images: shape (many,)."""
    return np.random.default_rng(seed).choice(digits()["validation"][1], many)


# Networks -------------------------------------------------------------------------------------------------------------


def enlarge(h, filters, way="kernel 4", **options):
    """Return h with twice its height and width: a transposed convolution, or resizing followed by a convolution."""
    if way == "resize":
        return layers.Conv2D(filters, 3, padding="same", **options)(layers.UpSampling2D()(h))
    return layers.Conv2DTranspose(filters, int(way[-1]), strides=2, padding="same", **options)(h)


def make_generator(classes=CLASSES, way="kernel 4"):
    """Return the network that writes: z and the one-hot digit, shape (latent + classes,), to an image (28, 28, 1)."""
    z = keras.Input((LATENT + classes,))
    h = layers.Reshape((7, 7, DEEP))(layers.Dense(49 * DEEP, use_bias=False)(z))
    h = layers.ReLU()(layers.BatchNormalization()(h))
    h = layers.ReLU()(layers.BatchNormalization()(enlarge(h, MIDDLE, way, use_bias=False)))
    return keras.Model(z, enlarge(h, 1, way, activation="sigmoid"))


def make_discriminator(outputs=CLASSES):
    """Return the network that judges: an image (28, 28, 1) to one logit for each digit that it might have to be."""
    image = keras.Input((28, 28, 1))
    h = layers.LeakyReLU(0.2)(layers.Conv2D(32, 4, strides=2, padding="same")(image))
    h = layers.BatchNormalization()(layers.Conv2D(64, 4, strides=2, padding="same", use_bias=False)(h))
    return keras.Model(image, layers.Dense(outputs)(layers.Flatten()(layers.LeakyReLU(0.2)(h))))


def make_encoder():
    """Return the VAE's other half: an image and its one-hot digit to the mean and the log variance of z."""
    image, label = keras.Input((28, 28, 1)), keras.Input((CLASSES,))
    h = layers.LeakyReLU(0.2)(layers.Conv2D(32, 4, strides=2, padding="same")(image))
    h = layers.BatchNormalization()(layers.Conv2D(64, 4, strides=2, padding="same", use_bias=False)(h))
    h = layers.Concatenate()([layers.Flatten()(layers.LeakyReLU(0.2)(h)), label])
    return keras.Model([image, label], [layers.Dense(LATENT)(h), layers.Dense(LATENT)(h)])


def make_denoiser():
    """Return a small U-Net: a noisy image (28, 28, 1), its noise step and one-hot digit to v (28, 28, 1), see Diffusion.

    It works on blocks of 2 × 2 pixels: (14, 14, 4), then (7, 7, 64) and back; a dense layer at the bottom sees all.
    """
    image, step, label = keras.Input((28, 28, 1)), keras.Input(()), keras.Input((CLASSES,))
    angle = step[:, None] * 1000 ** (-np.arange(16, dtype="float32") / 15)
    about = layers.Concatenate()([ops.sin(angle), ops.cos(angle), label])
    about = layers.Dense(64, activation="silu")(about)

    def block(h):
        told = layers.Dense(h.shape[-1])(about)[:, None, None]
        return h + layers.Conv2D(h.shape[-1], 3, padding="same")(ops.silu(h + told))

    def cut(h):
        h = ops.transpose(ops.reshape(h, (-1, 14, 2, 14, 2)), (0, 1, 3, 2, 4))
        return ops.reshape(h, (-1, 14, 14, 4))

    def back(h):
        h = ops.transpose(ops.reshape(h, (-1, 14, 14, 2, 2)), (0, 1, 3, 2, 4))
        return ops.reshape(h, (-1, 28, 28, 1))

    fine = block(layers.Conv2D(32, 3, padding="same")(cut(image)))
    h = block(layers.Conv2D(64, 3, strides=2, padding="same")(ops.silu(fine)))
    far = layers.Concatenate()([layers.Flatten()(layers.Conv2D(8, 1)(ops.silu(h))), about])
    far = layers.Dense(392)(layers.Dense(128, activation="silu")(far))
    h = block(block(h + layers.Conv2D(64, 1)(layers.Reshape((7, 7, 8))(far))))
    h = block(fine + layers.Conv2DTranspose(32, 2, strides=2)(ops.silu(h)))
    h = layers.Conv2D(4, 3, padding="same", kernel_initializer="zeros")(ops.silu(h))
    return keras.Model([image, step, label], back(h))


# Training -------------------------------------------------------------------------------------------------------------


def cross_entropy(target, logits):
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target * tf.ones_like(logits), logits))


def optimizers(*models, **options):
    found = [keras.optimizers.Adam(1e-3, **options) for _ in models]  # Writer.train sets the rate at every step
    for optimizer, model in zip(found, models):
        optimizer.build(model.trainable_variables)
    return found


class Writer:
    """A network that writes digits, and its training. `learn(images, one_hot, z)` does a step, `write(asked, seed)` uses it."""

    rate = RATES["GAN"]

    def train(self, images, labels, steps, seed, looks=None):
        """Train for so many steps; call looks[step](self) after some; return the CPU-seconds of the steps after the first."""
        rng = np.random.default_rng(seed)
        images, labels = tf.constant(images), tf.one_hot(labels, CLASSES)
        learn = tf.function(lambda chosen, z: self.learn(
            tf.cast(tf.gather(images, chosen), tf.float32)[..., None] / 255, tf.gather(labels, chosen), z))
        seconds = 0
        for step in range(steps):
            for optimizer in self.optimizers:
                optimizer.learning_rate.assign(self.rate * min(1, 2 * (1 - step / steps)))
            started = time.process_time()
            learn(tf.constant(rng.integers(images.shape[0], size=BATCH)), tf.constant(self.noise(rng, BATCH)))
            if step:
                seconds += time.process_time() - started
            if looks and step + 1 in looks:
                looks[step + 1](self)
        return seconds

    def noise(self, rng, many):
        return rng.standard_normal((many, LATENT), dtype=np.float32)

    def write(self, asked, seed, batch=250):
        """Return the digits asked for, images (n, 28, 28) from 0 to 1."""
        rng = np.random.default_rng(10_000 + seed)
        label = np.eye(CLASSES, dtype=np.float32)[asked]
        parts = [self.draw(rng, tf.constant(part))
                 for part in np.array_split(label, max(1, len(label) // batch))]
        return np.concatenate([part.numpy() for part in parts])[..., 0]


class GAN(Writer):
    def __init__(self, classes=CLASSES, way="kernel 4"):
        self.classes = classes
        self.generator, self.discriminator = make_generator(classes, way), make_discriminator(max(classes, 1))
        self.optimizers = optimizers(self.generator, self.discriminator, beta_1=0.5)
        self.use = tf.function(functools.partial(self.generator, training=False), reduce_retracing=True)

    def draw(self, rng, label):
        return self.use(self.told(self.noise(rng, len(label)), label))

    def told(self, z, label):
        return tf.concat([z, label], axis=1) if self.classes else z

    def learn(self, images, label, z):
        def believe(pictures):
            logits = self.discriminator(pictures, training=True)
            return tf.reduce_sum(logits * label, axis=1) if self.classes else logits

        with tf.GradientTape() as watch_generator:
            written = self.generator(self.told(z, label), training=True)
            with tf.GradientTape() as watch_discriminator:
                loss = cross_entropy(0.9, believe(images)) + cross_entropy(0.0, believe(tf.stop_gradient(written)))
            weights = self.discriminator.trainable_variables
            self.optimizers[1].apply(watch_discriminator.gradient(loss, weights), weights)
            loss = cross_entropy(1.0, believe(written))
        weights = self.generator.trainable_variables
        self.optimizers[0].apply(watch_generator.gradient(loss, weights), weights)


class VAE(Writer):
    rate = RATES["VAE"]

    def __init__(self, weight=1.0):
        self.weight = weight
        self.generator, self.encoder = make_generator(), make_encoder()
        self.optimizers = optimizers(self.generator, self.encoder)
        self.use = tf.function(functools.partial(self.generator, training=False), reduce_retracing=True)

    def draw(self, rng, label):
        return self.use(tf.concat([self.noise(rng, len(label)), label], axis=1))

    def learn(self, images, label, noise):
        with tf.GradientTape() as watch:
            mean, log_variance = self.encoder([images, label], training=True)
            z = mean + tf.exp(log_variance / 2) * noise
            p = tf.clip_by_value(self.generator(tf.concat([z, label], axis=1), training=True), 1e-6, 1 - 1e-6)
            distortion = -tf.reduce_sum(images * tf.math.log(p) + (1 - images) * tf.math.log(1 - p), axis=(1, 2, 3))
            rate = 0.5 * tf.reduce_sum(mean**2 + tf.exp(log_variance) - 1 - log_variance, axis=1)
            loss = tf.reduce_mean(distortion + self.weight * rate)
        models = self.generator, self.encoder
        gradients = watch.gradient(loss, [model.trainable_variables for model in models])
        for optimizer, model, gradient in zip(self.optimizers, models, gradients):
            optimizer.apply(gradient, model.trainable_variables)


class Diffusion(Writer):
    """A diffusion model whose network returns v, from which the noise is root(1 - kept) x + root(kept) v.

    The squared error of v is that of the noise, divided by what is kept of the image.
    """

    rate = RATES["diffusion"]
    kept = np.cos(np.pi / 2 * (0.99 * np.arange(1, NOISE_STEPS + 1) / NOISE_STEPS + 0.01) / 1.01) ** 2
    kept = kept.astype(np.float32)
    beta = 1 - kept / np.concatenate([[1], kept[:-1]]).astype(np.float32)

    def __init__(self):
        self.denoiser = make_denoiser()
        self.optimizers = optimizers(self.denoiser)
        self.back = tf.function(self.step_back, reduce_retracing=True)

    def noise(self, rng, many):
        return rng.standard_normal((many, 28, 28, 1), dtype=np.float32)

    def learn(self, images, label, noise):
        step = tf.random.uniform((BATCH,), 0, NOISE_STEPS, tf.int32)
        kept = tf.gather(tf.constant(self.kept), step)[:, None, None, None]
        clean = 2 * images - 1
        noisy = tf.sqrt(kept) * clean + tf.sqrt(1 - kept) * noise
        v = tf.sqrt(kept) * noise - tf.sqrt(1 - kept) * clean
        with tf.GradientTape() as watch:
            loss = tf.reduce_mean((self.denoiser([noisy, tf.cast(step, tf.float32), label], training=True) - v) ** 2)
        weights = self.denoiser.trainable_variables
        self.optimizers[0].apply(watch.gradient(loss, weights), weights)

    def step_back(self, x, step, label, noise):
        beta, kept = tf.gather(tf.constant(self.beta), step), tf.gather(tf.constant(self.kept), step)
        before = kept / (1 - beta)
        v = self.denoiser([x, tf.fill(tf.shape(x)[:1], tf.cast(step, tf.float32)), label], training=False)
        clean = tf.clip_by_value(tf.sqrt(kept) * x - tf.sqrt(1 - kept) * v, -1, 1)
        mean = tf.sqrt(before) * beta / (1 - kept) * clean + tf.sqrt(1 - beta) * (1 - before) / (1 - kept) * x
        return mean + tf.sqrt(tf.maximum(beta * (1 - before) / (1 - kept), 0)) * noise

    def draw(self, rng, label):
        x = tf.constant(self.noise(rng, len(label)))
        for step in reversed(range(NOISE_STEPS)):
            x = self.back(x, tf.constant(step), label, tf.constant(self.noise(rng, len(label))))
        return tf.clip_by_value(x, -1, 1) / 2 + 0.5


# The parts ------------------------------------------------------------------------------------------------------------


def fold(generator):
    """Return the generator's arrays with batch normalisation folded into them, by the names of the page's figure."""
    kernel, scale_1, shift_1, mean_1, variance_1, up1, scale_2, shift_2, mean_2, variance_2, up2, bias = (
        weight.numpy() for weight in generator.weights)
    factor_1, factor_2 = (scale / np.sqrt(variance + 1e-3) for scale, variance in ((scale_1, variance_1), (scale_2, variance_2)))
    return {
        "dense_kernel": kernel * np.tile(factor_1, 49), "dense_bias": np.tile(shift_1 - mean_1 * factor_1, 49),
        "up1_kernel": up1 * factor_2[:, None], "up1_bias": shift_2 - mean_2 * factor_2, "up2_kernel": up2, "up2_bias": bias,
    }


def bytes_of(images):
    return np.round(255 * np.asarray(images)).astype(np.uint8)


def models(record):
    """Three ways to write digits, and a DCGAN; measured on validation images while GANs train, on test images at the end."""
    train = digits()["train"]
    for seed in SEEDS:
        for name in STEPS:
            key = {"part": "models", "model": name, "seed": seed}
            if record.holds(key) or name == "DCGAN" and seed:
                continue
            keras.utils.set_random_seed(seed)
            model = {"GAN": GAN, "VAE": VAE, "VAE, 3 KL": lambda: VAE(3.0), "diffusion": Diffusion,
                     "DCGAN": lambda: GAN(0)}[name]()
            curve, strip = [], []
            one_each = np.arange(10)

            def see(model):
                if isinstance(model, GAN):
                    features, p = look(model.write(ask(seed), seed))
                    curve.append([short(frechet(features, "validation")), short(np.mean(p.argmax(axis=1) == ask(seed)))])
                strip.append(bytes_of(model.write(one_each, 1)))

            keep = LOOKS if name in ("GAN", "DCGAN") else []
            if keep and seed == 0:
                strip.append(bytes_of(model.write(one_each, 1)))
            seconds = model.train(*train, STEPS[name], seed, {step: see for step in keep})
            asked = ask(seed)
            model.write(asked[:250], seed)
            started = time.process_time()
            images = model.write(asked, seed)
            writing = time.process_time() - started
            parameters = {"diffusion": "denoiser"}.get(name, "generator")
            found = measure(images, asked if name != "DCGAN" else None)
            record.add({**key, "cpu_seconds": round(seconds, 1), "writing_ms": short(1000 * writing / SAMPLES),
                        "parameters": getattr(model, parameters).count_params(), **found, "curve": curve})
            if seed:
                continue
            if name in ("GAN", "VAE, 3 KL"):
                arrays = {f"{name[:3]}_{key}": array.astype(np.float16) for key, array in fold(model.generator).items()}
                store(WRITER, names=np.array(["GAN", "VAE"]), latent=np.array(LATENT), slope=np.array(0.0), **arrays)
            elif name == "diffusion":
                store(PICTURES, **{f"denoiser_{number:02}": weight.numpy().astype(np.float16)
                                   for number, weight in enumerate(model.denoiser.weights)})
            store(PICTURES, **{f"{name}_samples": bytes_of(images[:100]), f"{name}_asked": asked[:100].astype(np.uint8)},
                  **({f"{name}_strip": np.array(strip)} if strip else {}))


def real_digits(record):
    """Validation images in the place of written ones, three choices of them."""
    for seed in SEEDS:
        if not record.holds({"part": "real", "seed": seed}):
            chosen = np.random.default_rng(seed).permutation(10_000)[:SAMPLES]
            images, labels = (array[chosen] for array in digits()["validation"])
            record.add({"part": "real", "seed": seed, **measure(images / np.float32(255), labels)})


def spectrum(images):
    """Return the mean power of images (n, 28, 28) at 0 to 14 periods in 28 pixels, over rows and columns."""
    images = np.asarray(images, np.float64)
    across = np.abs(np.fft.rfft(images, axis=2)) ** 2
    down = np.abs(np.fft.rfft(images, axis=1)) ** 2
    return (across.mean(axis=(0, 1)) + down.mean(axis=(0, 2))) / 2


def strides(record):
    """Spectra of what three kinds of generator write, before and during training."""
    for seed in SEEDS:
        for way in ("kernel 3", "kernel 4", "resize"):
            key = {"part": "strides", "way": way, "seed": seed}
            if record.holds(key):
                continue
            keras.utils.set_random_seed(seed)
            model = GAN(way=way)
            spectra, pictures = [], []

            def see(model):
                rng = np.random.default_rng(seed)
                asked = np.eye(CLASSES, dtype=np.float32)[ask(seed, 500)]
                images = model.generator(model.told(model.noise(rng, 500), asked), training=True).numpy()[..., 0]
                spectra.append([short(value) for value in spectrum(images)])
                pictures.append(bytes_of(images[:8]))

            see(model)
            seconds = model.train(*digits()["train"], STRIDE_STEPS, seed, {step: see for step in STRIDE_LOOKS[1:]})
            features, p = look(model.write(ask(seed), seed))
            record.add({**key, "cpu_seconds": round(seconds, 1), "spectra": spectra,
                        "validation_frechet": short(frechet(features, "validation")),
                        "validation_agreement": short(np.mean(p.argmax(axis=1) == ask(seed)))})
            if seed == 0:
                store(PICTURES, **{f"strides_{way.replace(' ', '_')}": np.array(pictures)})


def make_reader():
    image = keras.Input((28, 28, 1))
    h = layers.MaxPooling2D()(layers.Conv2D(16, 3, activation="relu")(image))
    h = layers.MaxPooling2D()(layers.Conv2D(32, 3, activation="relu")(h))
    h = layers.Dropout(0.5)(layers.Dense(64, activation="relu")(layers.Flatten()(h)))
    return keras.Model(image, layers.Dense(10)(h))


def read(images, labels, seed, extra=None, shift=0):
    """Train a small classifier on images (n, 28, 28) from 0 to 1; return its accuracy on the test images.

    extra: written images and their digits, which make half of every batch; shift: pixels by which images are moved.
    """
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = make_reader()
    optimizer, = optimizers(model)

    @tf.function
    def learn(x, y):
        with tf.GradientTape() as watch:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=True)))
        optimizer.apply(watch.gradient(loss, model.trainable_variables), model.trainable_variables)

    for _ in range(READER_STEPS):
        chosen = rng.integers(len(images), size=BATCH if extra is None else BATCH // 2)
        x, y = images[chosen], labels[chosen]
        if extra is not None:
            chosen = rng.integers(len(extra[0]), size=BATCH // 2)
            x, y = np.concatenate([x, extra[0][chosen]]), np.concatenate([y, extra[1][chosen]])
        if shift:
            x = np.stack([np.roll(one, rng.integers(-shift, shift + 1, 2), axis=(0, 1)) for one in x])
        learn(tf.constant(x[..., None], tf.float32), tf.constant(y, tf.int32))
    tests, truth = digits()["test"]
    use = tf.function(functools.partial(model, training=False))
    answers = [use(tf.constant(part[..., None] / 255, tf.float32)).numpy().argmax(axis=1) for part in np.split(tests, 10)]
    return np.mean(np.concatenate(answers) == truth)


def few(record):
    """Do written digits help a classifier that has few real ones? Every GAN but the last has seen only those few."""
    every = None
    for seed in SEEDS:
        for many in FEW:
            key = {"part": "few", "many": many, "seed": seed}
            if record.holds(key):
                continue
            images, labels = digits()["train"]
            order = np.random.default_rng(seed).permutation(len(images))
            chosen = np.concatenate([order[labels[order] == k][:many // 10] for k in range(10)])
            images, labels = images[chosen], labels[chosen]
            keras.utils.set_random_seed(seed)
            model = GAN()
            seconds = model.train(images, labels, FEW_STEPS, seed)
            asked = np.repeat(np.arange(10), 200)
            written = model.write(asked, seed)
            features, p = look(written)
            if every is None:
                with np.load(WRITER) as file:
                    every = write_folded(file, "GAN", asked, 77)
            x = images.astype(np.float32) / 255
            flat, held = x.reshape(-1, 784), digits()["validation"][0][:1000].reshape(-1, 784) / np.float32(255)
            record.add({
                **key, "cpu_seconds": round(seconds, 1), "agreement": short(np.mean(p.argmax(axis=1) == asked)),
                "validation_frechet": short(frechet(features, "validation")),
                "near_written": quantiles(nearest(written[::2].reshape(-1, 784), flat)),
                "near_real": quantiles(nearest(held, flat)),
                "real": short(read(x, labels, seed)),
                "shifted": short(read(x, labels, seed, shift=2)),
                "written": short(read(x, labels, seed, (written, asked))),
                "leak": short(read(x, labels, seed, (every, asked))),
            })
            if seed == 0:
                store(PICTURES, **{f"few_{many}": bytes_of(written[::100])})


def write_folded(arrays, name, asked, seed):
    """Return digits from the stored generator: images (n, 28, 28) from 0 to 1."""
    z = np.random.default_rng(seed).standard_normal((len(asked), LATENT), dtype=np.float32)
    told = np.concatenate([z, np.eye(CLASSES, dtype=np.float32)[asked]], axis=1)
    kernel, bias, up1, bias_1, up2, bias_2 = (arrays[f"{name}_{part}"].astype(np.float32) for part in (
        "dense_kernel", "dense_bias", "up1_kernel", "up1_bias", "up2_kernel", "up2_bias"))
    h = ops.relu(told @ kernel + bias).numpy().reshape(-1, 7, 7, DEEP)
    h = ops.relu(ops.conv_transpose(h, up1, 2, "same") + bias_1)
    return ops.sigmoid(ops.conv_transpose(h, up2, 2, "same") + bias_2).numpy()[..., 0]


# The record -----------------------------------------------------------------------------------------------------------


def store(path, /, **arrays):
    """Add arrays to a file, or replace them, at once."""
    if path.exists():
        with np.load(path) as file:
            arrays = {**dict(file), **arrays}
    write_arrays(path, **arrays)


PARTS = {"models": models, "real": real_digits, "strides": strides, "few": few}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--seconds", action="store_true", help="print the time of each part")
    options = parser.parse_args()
    tf.config.experimental.enable_op_determinism()
    record = Record(RECORD, HEADER)
    for part in options.parts or PARTS:
        started = time.process_time()
        PARTS[part](record)
        if options.seconds:
            print(f"{part:8}{time.process_time() - started:6.0f} CPU-seconds", flush=True)


if __name__ == "__main__":
    main()
