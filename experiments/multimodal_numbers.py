"""Numbers of two digits that were never seen: experiments/multimodal_numbers.jsonl.

    python experiments/multimodal_numbers.py --workers 2

An image is two digits of MNIST side by side, a caption the number's name, from ten to ninety-nine. Some of the ninety
numbers are left out of training, images and names alike; each digit is still seen in both places. What can be said
about the numbers left out has to be composed. Baselines: ninety logits, which know nothing of names, and two heads of
ten logits, which were told that a number is two digits.
"""
import functools
import time

import numpy as np

from imagebook.studies import Study, load_split, short

UNITS = ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
CHARACTERS = "零一二三四五六七八九"
NUMBERS = np.arange(10, 100)
WIDTH, LENGTH, EPOCHS, LEARNING_RATE, BATCH_SIZE, TESTS = 64, 14, 9, 0.003, 64, 6000
FIXED = {
    "optimizer": "Adam, learning rate 0.003, rising for a fifth of the steps, then falling to 0 along half a cosine",
    "epochs": EPOCHS, "pairs_an_epoch": 6144, "batch_size": BATCH_SIZE, "first_temperature": 0.07,
    "image_encoder": "the convolutions of the small network on 28×56 pixels, dense 64, unit length",
    "text_encoders": "order: characters in 32 numbers, convolution 128×3, ReLU, maximum, dense 64; bag: their mean, dense 64",
}


def name(number, language):
    """Return the name of a number from 10 to 99."""
    tens, units = divmod(int(number), 10)
    if language == "Chinese":
        return (CHARACTERS[tens] if tens > 1 else "") + "十" + (CHARACTERS[units] if units else "")
    if tens == 1:
        return TEENS[units]
    return TENS[tens] + ("-" if units else "") + UNITS[units]


def encode(texts):
    """Return texts as numbers of characters, shape (n, LENGTH); 0 is nothing."""
    alphabet = sorted({letter for text in texts for letter in text})
    codes = np.zeros((len(texts), LENGTH), "int32")
    for row, text in zip(codes, texts):
        row[:len(text)] = [alphabet.index(letter) + 1 for letter in text]
    return codes


def left_out(seed, count):
    """Return `count` numbers to leave out, so that each digit is still seen in both places."""
    rng = np.random.default_rng([seed, 3])
    while True:
        chosen = np.sort(rng.choice(NUMBERS, count, replace=False))
        seen = np.setdiff1d(NUMBERS, chosen)
        if len(np.unique(seen // 10)) == 9 and len(np.unique(seen % 10)) == 10:
            return chosen


def compose(rng, images, labels, numbers):
    """Return an image of each number, two random digits side by side, shape (n, 28, 56, 1)."""
    by_digit = [np.flatnonzero(labels == digit) for digit in range(10)]
    halves = [[rng.choice(by_digit[digit]) for digit in digits] for digits in (numbers // 10, numbers % 10)]
    return np.concatenate([images[half] for half in halves], axis=2)


class Model:
    """The encoders and the baselines' heads for one kind of text, compiled once and trained many times."""

    def __init__(self, text):
        import keras
        import tensorflow as tf
        from keras import layers

        self.kind = text
        outputs = {"ninety logits": 90, "two heads": 20}.get(text, WIDTH)
        self.image = keras.Sequential([
            keras.Input((28, 56, 1)), layers.Rescaling(1 / 255), layers.Conv2D(8, 5, strides=2, activation="relu"),
            layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(outputs)])
        middle = [layers.Conv1D(128, 3, padding="same", activation="relu"), layers.GlobalMaxPooling1D()]
        middle = [layers.GlobalAveragePooling1D()] if text == "bag" else middle
        self.text = keras.Sequential([
            keras.Input((LENGTH,), dtype="int32"), layers.Embedding(30, 32), *middle, layers.Dense(WIDTH)])
        self.scale = keras.Variable(0.0)
        self.variables = list(self.image.trainable_variables)
        if outputs == WIDTH:
            self.variables += [*self.text.trainable_variables, self.scale]
        self.optimizer = keras.optimizers.Adam()
        self.optimizer.build(self.variables)
        self.first = [variable.numpy() for variable in self.optimizer.variables]
        self.step = tf.function(self._step, reduce_retracing=True)

    def start(self, seed):
        """Draw all weights for this seed (Glorot's uniform distribution, biases zero) and empty Adam's memory."""
        rng = np.random.default_rng([seed, 0])
        for variable in [*self.image.trainable_variables, *self.text.trainable_variables]:
            shape = tuple(variable.shape)
            limit = np.sqrt(6 / (int(np.prod(shape[:-2])) * sum(shape[-2:]))) if len(shape) > 1 else 0.0
            variable.assign(rng.uniform(-limit, limit, shape).astype("float32"))
        self.scale.assign(-np.log(0.07))
        for variable, value in zip(self.optimizer.variables, self.first):
            variable.assign(value)

    def _step(self, rate, images, numbers, texts):
        import tensorflow as tf

        cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
        with tf.GradientTape() as tape:
            u = self.image(images)
            if self.kind == "ninety logits":
                loss = tf.reduce_mean(cross_entropy(numbers - 10, u))
            elif self.kind == "two heads":
                loss = tf.reduce_mean(cross_entropy(numbers // 10, u[:, :10]) + cross_entropy(numbers % 10, u[:, 10:]))
            else:
                u, v = tf.math.l2_normalize(u, 1), tf.math.l2_normalize(self.text(texts), 1)
                logits = tf.exp(tf.minimum(self.scale, np.log(100.0))) * tf.matmul(u, v, transpose_b=True)
                own = tf.range(tf.shape(u)[0])
                loss = tf.reduce_mean(cross_entropy(own, logits) + cross_entropy(own, tf.transpose(logits))) / 2
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply(tape.gradient(loss, self.variables), self.variables)
        return loss

    def scores(self, images, codes):
        """Return the score of each of the ninety numbers for each image."""
        import tensorflow as tf

        u = np.concatenate([self.image(part).numpy() for part in np.array_split(images, 12)])
        if self.kind == "ninety logits":
            return u
        if self.kind == "two heads":
            logs = [tf.nn.log_softmax(part).numpy() for part in (u[:, :10], u[:, 10:])]
            return logs[0][:, NUMBERS // 10] + logs[1][:, NUMBERS % 10]
        u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, self.text(codes).numpy()))
        return u @ v.T


@functools.cache
def model(text):
    """Return the model for this kind of text, compiled when it is first used."""
    return Model(text)


def run(settings):
    """Train on the numbers that are not left out and return what is read of the others."""
    (images, labels), _, (test_images, test_labels) = load_split()
    hidden = left_out(settings["seed"], settings["left_out"])
    seen = np.setdiff1d(NUMBERS, hidden)
    codes = encode([name(number, settings["language"]) for number in NUMBERS])
    network = model(settings["text"])
    network.start(settings["seed"])
    rng = np.random.default_rng([settings["seed"], 1])
    done = np.arange(1, EPOCHS * 96 + 1) / (EPOCHS * 96)
    rates = LEARNING_RATE * np.minimum(done / 0.2, np.cos(np.pi / 2 * (done - 0.2) / 0.8) ** 2).astype("float32")
    started = time.process_time()
    for epoch in np.split(rates, EPOCHS):
        numbers = rng.choice(seen, 6144)
        composed = compose(rng, images, labels, numbers)
        for rate, batch in zip(epoch, np.arange(6144).reshape(96, 64)):
            network.step(rate, composed[batch], numbers[batch].astype("int32"), codes[numbers[batch] - 10])
    seconds = time.process_time() - started
    numbers = np.random.default_rng(4).choice(NUMBERS, TESTS)  # the same test images in every run
    scores = network.scores(compose(np.random.default_rng(5), test_images, test_labels, numbers), codes)
    answers = NUMBERS[scores.argmax(1)]
    new = np.isin(numbers, hidden)
    among = hidden[scores[:, hidden - 10].argmax(1)]
    right = answers == numbers
    backwards = numbers % 10 * 10 + numbers // 10
    wrong = [np.bincount(answers[(numbers == n) & ~right], minlength=100) for n in hidden]
    return {
        "test_accuracy": short(right[~new].mean()), "new": short(right[new].mean()),
        "new_among_new": short((among == numbers)[new].mean()), "chance_among_new": short(1 / len(hidden)),
        "new_tens": short((answers // 10 == numbers // 10)[new].mean()),
        "new_units": short((answers % 10 == numbers % 10)[new].mean()),
        "new_answered_seen": short(np.isin(answers[new], seen).mean()),
        "backwards": short((answers == backwards)[numbers != backwards].mean()),
        "left_out_numbers": hidden.tolist(), "tried": [int((numbers == n).sum()) for n in hidden],
        "read": [int((right & (numbers == n)).sum()) for n in hidden],
        "instead": [[int(count.argmax()), int(count.max())] for count in wrong],  # the commonest wrong answer, how often
        "end_temperature": short(float(np.exp(-float(network.scale.numpy())))),
        "cpu_seconds": round(seconds, 2),
    }


def wanted(settings):
    """Say whether a cell is in the grid: baselines have no language, and the bag of characters is tried once."""
    if settings["text"] == "order":
        return True
    if settings["text"] == "bag":
        return settings["left_out"] == 18
    return settings["language"] == "English" and (settings["text"] == "two heads" or settings["left_out"] == 18)


STUDY = Study(
    __file__, run,
    {"text": ["order", "bag", "two heads", "ninety logits"], "language": ["English", "Chinese"], "left_out": [18, 45, 72]},
    5, FIXED, "two-digit numbers that were left out of training, read by their names",
    group=lambda settings: settings["text"], where=wanted)

if __name__ == "__main__":
    STUDY.main()
