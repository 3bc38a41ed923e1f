"""Digits and their names in one space, by contrast: experiments/multimodal.jsonl.

    python experiments/multimodal.py --workers 2

An image encoder (the small network without its last layer, and a projection) and a text encoder that reads characters
are trained so that an image and a caption of its digit point the same way. The grid is a union of lines through one
middle: the loss by batch size, the temperature held fixed, which pairs are shown, and one digit left out of the images.
The network "labels" is the baseline: the same image encoder with ten logits and no text.
"""
import functools
import time

import numpy as np

from imagebook.studies import Study, load_split, short

NAMES = {
    "English": [["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]],
    # The everyday characters, and those written on cheques.
    "Chinese": [list("零一二三四五六七八九"), list("零壹贰叁肆伍陆柒捌玖")],
}
TEMPLATES = {
    "English": ["{}", "the digit {}", "a {}", "number {}", "a handwritten {}", "the number {}", "digit {}", "this is {}"],
    "Chinese": ["{}", "数字{}", "一个{}", "手写的{}", "这是{}", "数{}"],
}
NEW_TEMPLATES = {  # never seen in training
    "English": ["a photo of the digit {}", "an image of {}", "{} written by hand", "it says {}", "i see a {} here"],
    "Chinese": ["图片里是{}", "{}的图片", "这里写着{}", "一张写着{}的图片", "看到{}"],
}
WIDTH, LENGTH = 32, 28  # numbers in an embedding; characters in a caption
EPOCHS, LEARNING_RATE = 8, 0.003  # at 64 images a batch; at others by the root rule of Adam
FIXED = {
    "optimizer": "Adam, learning rate 0.003 sqrt(B / 64), rising for a fifth of the steps, then falling to 0 along half a cosine", "epochs": EPOCHS,
    "image_encoder": "the small network without its last layer, dense 32, unit length",
    "text_encoder": "characters in 32 numbers, convolution 64×3, ReLU, maximum, dense 32, unit length",
    "first_temperature": "0.07; 0.1 and bias -10 for the sigmoid loss", "templates": TEMPLATES, "new_templates": NEW_TEMPLATES,
}
LANGUAGES = {"both": ["English", "Chinese"], "English": ["English"], "pivot": ["English"]}


def captions(templates, language):
    """Return all captions of each digit in a language, a list of ten lists."""
    return [[t.format(names[digit]) for names in NAMES[language] for t in templates[language]] for digit in range(10)]


ALPHABET = sorted({letter for language in NAMES for some in captions(TEMPLATES, language) for text in some for letter in text})


def encode(texts):
    """Return captions as numbers of characters, shape (n, LENGTH); 0 is nothing, 1 a character not seen in training."""
    codes = np.zeros((len(texts), LENGTH), "int32")
    for row, text in zip(codes, texts):
        row[:len(text)] = [ALPHABET.index(letter) + 2 if letter in ALPHABET else 1 for letter in text]
    return codes


def image_encoder():
    """Return the untrained network from images to vectors that are not yet of unit length."""
    from imagebook.studies import small_network
    import keras

    network = small_network()
    return keras.Sequential([keras.Input((28, 28, 1)), *network.layers[:-1], keras.layers.Dense(WIDTH)])


def text_encoder():
    """Return the untrained network from numbers of characters to vectors that are not yet of unit length."""
    import keras
    from keras import layers

    return keras.Sequential([
        keras.Input((LENGTH,), dtype="int32"), layers.Embedding(len(ALPHABET) + 2, 32),
        layers.Conv1D(64, 3, padding="same", activation="relu"), layers.GlobalMaxPooling1D(), layers.Dense(WIDTH)])


def contrast(logits, targets):
    """Return the mean cross-entropy of the rows and of the columns."""
    import tensorflow as tf

    rows = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    columns = tf.nn.softmax_cross_entropy_with_logits(tf.transpose(targets), tf.transpose(logits))
    return (tf.reduce_mean(rows) + tf.reduce_mean(columns)) / 2


def loss_of(kind, u, v, digits, scale, bias):
    """Return the loss of a batch of unit vectors u and v, whose rows with equal numbers belong together."""
    import tensorflow as tf

    similarity = tf.matmul(u, v, transpose_b=True)
    count = tf.shape(u)[0]
    own = tf.eye(count)
    same = tf.cast(digits[:, None] == digits, tf.float32)
    together = same if kind.endswith("many") else own
    if kind.startswith("sigmoid"):
        logits = (2 * together - 1) * (scale * similarity + bias)
        return tf.reduce_sum(tf.nn.softplus(-logits)) / tf.cast(count, tf.float32)
    return contrast(scale * similarity, together / tf.reduce_sum(together, 1, keepdims=True))


class Pair:
    """Two encoders, compiled once for a kind of loss, trained many times."""

    def __init__(self, kind, pairs, trained):
        import keras
        import tensorflow as tf

        self.kind, self.pairs, self.trained = kind, pairs, trained
        self.image, self.text = image_encoder(), text_encoder()
        self.classes = keras.layers.Dense(10)
        self.classes.build((None, WIDTH))
        self.scale, self.bias = tf.Variable(0.0), tf.Variable(0.0)  # the logarithm of 1/T; added by the sigmoid loss only
        self.variables = [*self.image.trainable_variables, *(
            self.classes.trainable_variables if kind == "labels" else self.text.trainable_variables)]
        self.variables = [v.value for v in self.variables] + ([self.scale] if trained and kind != "labels" else [])
        self.variables += [self.bias] if kind.startswith("sigmoid") else []
        self.moments = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in self.variables]
        self.time = tf.Variable(0.0)
        self.step = tf.function(self._step, reduce_retracing=True)
        self.look = tf.function(lambda x: tf.math.l2_normalize(self.image(x), 1), reduce_retracing=True)
        self.read = tf.function(lambda c: tf.math.l2_normalize(self.text(c), 1), reduce_retracing=True)

    def start(self, seed, temperature):
        """Draw all weights for this seed (Glorot's uniform distribution, biases zero) and empty Adam's memory."""
        rng = np.random.default_rng([seed, 0])
        for variable in [*self.image.trainable_variables, *self.text.trainable_variables, *self.classes.trainable_variables]:
            shape = tuple(variable.shape)
            field = int(np.prod(shape[:-2]))
            limit = np.sqrt(6 / (field * sum(shape[-2:]))) if len(shape) > 1 else 0.0
            variable.assign(rng.uniform(-limit, limit, shape).astype("float32"))
        self.scale.assign(-np.log(temperature))
        self.bias.assign(-10.0)
        self.time.assign(0.0)
        for pair in self.moments:
            for moment in pair:
                moment.assign(np.zeros(moment.shape, "float32"))

    def _loss(self, images, digits, texts, digits_of_texts, first, second):
        import tensorflow as tf

        if self.kind == "labels":
            logits = self.classes(self.image(images))
            return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(digits, logits))
        scale = tf.exp(tf.minimum(self.scale, np.log(100.0)))
        u, v = (tf.math.l2_normalize(x, 1) for x in (self.image(images), self.text(texts)))
        loss = loss_of(self.kind, u, v, digits, scale, self.bias)
        if self.pairs == "pivot":
            a, b = (tf.math.l2_normalize(self.text(x), 1) for x in (first, second))
            loss = (loss + loss_of(self.kind, a, b, digits_of_texts, scale, self.bias)) / 2
        return loss

    def _step(self, rate, *batch):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = self._loss(*batch)
        self.time.assign_add(1.0)
        for variable, gradient, (mean, square) in zip(self.variables, tape.gradient(loss, self.variables), self.moments):
            gradient = tf.convert_to_tensor(gradient)  # the embedding's comes as rows
            mean.assign(0.9 * mean + 0.1 * gradient)
            square.assign(0.999 * square + 0.001 * gradient**2)
            size = rate * tf.sqrt(1 - 0.999**self.time) / (1 - 0.9**self.time)
            variable.assign_sub(size * mean / (tf.sqrt(square) + 1e-7))
        return loss


@functools.cache
def pair(kind, pairs, trained):
    """Return the encoders of this kind, compiled when they are first used."""
    return Pair(kind, pairs, trained)


def choose(rng, coded, digits):
    """Return a random caption for each digit, from arrays (10, captions, LENGTH) of one or more languages."""
    which = rng.integers(len(coded), size=len(digits))
    drawn = [language[digits, rng.integers(language.shape[1], size=len(digits))] for language in coded]
    return np.choose(which[:, None], drawn)


def coded_captions(templates, language):
    """Return the captions of a language as numbers, shape (10, captions, LENGTH)."""
    return np.stack([encode(texts) for texts in captions(templates, language)])


def train(model, seed, batch_size, temperature, left_out):
    """Train from the first weights of this seed; return the CPU seconds of it."""
    (images, labels), *_ = load_split()
    chosen = np.flatnonzero(labels != left_out)
    english, chinese = (coded_captions(TEMPLATES, language) for language in ("English", "Chinese"))
    shown = [english, chinese] if model.pairs == "both" else [english]
    model.start(seed, temperature)
    rng = np.random.default_rng([seed, 1])
    count = len(chosen) // batch_size
    done = np.arange(1, EPOCHS * count + 1) / (EPOCHS * count)
    rates = LEARNING_RATE * np.sqrt(batch_size / 64) * np.minimum(done / 0.2, np.cos(np.pi / 2 * (done - 0.2) / 0.8) ** 2)
    started = time.process_time()
    for step, rate in enumerate(rates.astype("float32")):
        if step % count == 0:
            order = rng.permutation(chosen)[:count * batch_size].reshape(count, batch_size)
        batch = order[step % count]
        others = rng.integers(10, size=batch_size)
        model.step(
            rate, images[batch], labels[batch], choose(rng, shown, labels[batch]), others.astype("int32"),
            choose(rng, [english], others), choose(rng, [chinese], others))
    return round(time.process_time() - started, 2)


def average_precision(scores, relevant):
    """Return the mean, over rows, of the average precision with which `scores` ranks what is relevant."""
    hits = np.take_along_axis(relevant, np.argsort(-scores, axis=1, kind="stable"), 1)
    precision = np.cumsum(hits, 1) / np.arange(1, hits.shape[1] + 1)
    return np.mean((precision * hits).sum(1) / hits.sum(1))


def accuracy(u, prototypes, labels):
    """Return the share of images whose nearest prototype, of ten, is that of their digit."""
    return np.mean((u @ prototypes.T).argmax(1) == labels)


def unit(x):
    """Return the rows with length 1."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def floor_batches(u, v_of, labels, rng, batch_size, temperature):
    """Return the mean loss with one positive pair a row, over batches of test images and random captions."""
    losses = []
    for _ in range(max(8, 8192 // batch_size)):
        rows = rng.choice(len(u), batch_size, replace=False)
        texts = v_of[labels[rows], rng.integers(v_of.shape[1], size=batch_size)]
        logits = u[rows] @ texts.T / temperature
        for table in (logits, logits.T):
            top = table.max(1, keepdims=True)
            losses.append(np.mean(np.log(np.exp(table - top).sum(1)) + top[:, 0] - np.diag(table)))
    return np.mean(losses)


def shifted(u, v, labels, languages):
    """Return the accuracy after moving the texts, or the images, by shares of the gap between the two means."""
    texts = np.concatenate([v[language].reshape(-1, WIDTH) for language in languages])
    gap = u.mean(0) - texts.mean(0)
    plain = v["English"][:, 0]
    shares = [-2, -1, -0.5, 0, 0.5, 1, 1.5, 2]
    return {
        "gap": short(np.linalg.norm(gap)), "shares": shares,
        "texts_moved": [short(accuracy(u, unit(plain + share * gap), labels)) for share in shares],
        "images_moved": [short(accuracy(unit(u - share * gap), plain, labels)) for share in shares],
    }


def vectors(model, images):
    """Return the unit vectors of images, of training captions by language, and of new captions by language."""
    u = np.concatenate([model.look(part).numpy() for part in np.split(images, 10)])
    v, w = ({language: model.read(coded_captions(templates, language).reshape(-1, LENGTH)).numpy().reshape(10, -1, WIDTH)
             for language in NAMES} for templates in (TEMPLATES, NEW_TEMPLATES))
    return u, v, w


def run(settings):
    """Train two encoders and return what they can do on the test images and on captions old and new."""
    kind, pairs, temperature = settings["loss"], settings["pairs"], settings["temperature"]
    trained = temperature == "trained"
    model = pair(kind, pairs, trained)
    first = (0.1 if kind.startswith("sigmoid") else 0.07) if trained else temperature
    images, labels = load_split()[2]
    languages = LANGUAGES[pairs]
    model.start(settings["seed"], first)
    u, v, _ = vectors(model, images)
    before = shifted(u, v, labels, languages)["gap"]
    seconds = train(model, settings["seed"], settings["batch_size"], first, settings["left_out"])
    if kind == "labels":
        logits = np.concatenate([model.classes(model.image(part)).numpy() for part in np.split(images, 10)])
        return {"test_accuracy": short(np.mean(logits.argmax(1) == labels)), "cpu_seconds": seconds}
    u, v, w = vectors(model, images)
    end = float(np.exp(-min(float(model.scale), np.log(100.0))))
    rng = np.random.default_rng([settings["seed"], 2])
    plain, everyday = v["English"][:, 0], v["Chinese"][:, 0]
    result = {"test_accuracy": short(accuracy(u, plain, labels)), "cpu_seconds": seconds, "gap_before": before}
    result |= {"end_temperature": short(end), "end_bias": short(float(model.bias))}
    result["chinese"] = short(accuracy(u, everyday, labels))
    result["cheque"] = short(accuracy(u, v["Chinese"][:, len(TEMPLATES["Chinese"])], labels))
    for name, language in (("new_english", "English"), ("new_chinese", "Chinese")):
        result[name] = [short(accuracy(u, w[language][:, index], labels)) for index in range(w[language].shape[1])]
        result[f"{name}_ensemble"] = short(accuracy(u, unit(w[language].mean(1)), labels))
    everything = np.concatenate([v[language] for language in languages], 1)
    pool = everything.reshape(-1, WIDTH)
    owner = np.repeat(np.arange(10), everything.shape[1])
    scores = u @ plain.T
    result["image_to_text_map"] = short(average_precision(u[:2000] @ pool.T, labels[:2000, None] == owner))
    result["text_to_image_map"] = short(average_precision(scores.T, np.arange(10)[:, None] == labels))
    result["text_to_image_first"] = short(np.mean(labels[scores.argmax(0)] == np.arange(10)))
    result["english_to_chinese"] = short(accuracy(w["English"].reshape(-1, WIDTH), everyday, np.repeat(np.arange(10), w["English"].shape[1])))
    result["loss_64"] = short(floor_batches(u, everything, labels, rng, 64, end))
    result["loss_own"] = short(floor_batches(u, everything, labels, rng, settings["batch_size"], end))
    texts = everything[labels, rng.integers(everything.shape[1], size=len(labels))]
    result["alignment"] = short(np.mean(np.sum((u - texts) ** 2, 1)))
    result["uniformity"] = short(np.log(np.mean(np.exp(-2 * np.sum((u[:5000] - u[5000:]) ** 2, 1)))))
    result |= shifted(u, v, labels, languages)
    centres = np.stack([[x[labels == digit].mean(0) for digit in range(10)] for x in (u, texts)])
    result["class_gap"] = short(np.mean(np.linalg.norm(centres[0] - centres[1], axis=1)))
    cosines = [unit(centre) @ unit(centre).T for centre in centres]
    result["between_images"], result["between_texts"] = (short((c.sum() - 10) / 90) for c in cosines)
    left = settings["left_out"]
    if left >= 0:
        mine = labels == left
        result["left_out_accuracy"] = short(accuracy(u[mine], plain, labels[mine]))
        order = np.argsort(np.argsort(scores[:, left]))  # ranks: the share of pairs in the right order
        result["left_out_auroc"] = short((order[mine].mean() - (mine.sum() - 1) / 2) / (~mine).sum())
        result["left_out_answers"] = np.bincount(scores[mine].argmax(1), minlength=10).tolist()
        result["others_accuracy"] = short(accuracy(u[~mine], plain, labels[~mine]))
    return result


TEMPERATURES = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
MIDDLE = {"loss": "one", "batch_size": 64, "temperature": "trained", "pairs": "both", "left_out": -1}


def wanted(settings):
    """Say whether a cell is in the grid: on one of the lines through the middle."""
    moved = {name for name, value in MIDDLE.items() if settings[name] != value}
    if settings["loss"] == "labels":
        return moved == {"loss"}
    if "left_out" in moved:
        return moved == {"left_out", "pairs"} and settings["pairs"] == "pivot"
    if "temperature" in moved:
        return moved == {"temperature"}
    return moved <= {"loss", "batch_size"} or moved == {"pairs"}


STUDY = Study(
    __file__, run,
    {"loss": ["one", "many", "sigmoid one", "sigmoid many", "labels"], "batch_size": [32, 64, 256],
     "temperature": ["trained", *TEMPERATURES], "pairs": ["both", "English", "pivot"], "left_out": [-1, *range(10)]},
    4, FIXED, "digits and their names: what contrast learns, by loss, batch, temperature, and the pairs that are shown",
    group=lambda settings: (settings["loss"], settings["pairs"], settings["temperature"] == "trained"), where=wanted)

if __name__ == "__main__":
    STUDY.main()
