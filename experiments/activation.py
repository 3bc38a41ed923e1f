"""Which activation function, how many layers, which first weights? Eight functions in dense networks of 2 to 20 layers."""
import functools

import keras
import numpy as np
from keras import layers

from imagebook.studies import Study, Trainer, multiply_accumulates, short

WIDTH, EPOCHS, BATCH_SIZE, MOMENTUM = 64, 8, 64, 0.9
ACTIVATIONS = ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu"]
# Which activations have which first weights. He's rule is ReLU's own, and Glorot's that of no activation at all.
STARTS = {
    "Glorot": ACTIVATIONS,
    "He": ["tanh", "elu", "gelu", "silu"],
    "own": ["sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu"],
    "centred": ["sigmoid"],
    "batch norm": ["sigmoid", "tanh", "relu"],  # in the deepest networks only
}
RATES = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
# Lowest and highest rate, so that the best one lies inside. ReLU's goes on to where its units die.
WINDOWS = {"linear": (0.0003, 0.1), "sigmoid": (0.003, 1.0), "relu": (0.001, 0.3)}


def normal_mean(function):
    """Return the mean of function(z) over z normal with mean 0, variance 1; it may have a kink or a jump at 0."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    z = 5 * (nodes + 1)  # from 0 to 10; each half for itself, so that no node sits on the kink
    weights = 5 * weights * np.exp(-z**2 / 2) / np.sqrt(2 * np.pi)
    return float(weights @ (function(z) + function(-z)))


def own_gain(activation):
    """Return the gain g with which first weights of variance g / (inputs) keep the mean square at 1."""
    f = keras.activations.get(activation)
    return 1 / normal_mean(lambda z: np.asarray(f(z.astype("float32")), "float64") ** 2)


def set_start(dense, activation, start):
    """Give every dense layer of a network the initializer that belongs to this start.

    "centred" makes of a network of sigmoids the network of tanh with its own gain, since sigmoid(2z) = (1 + tanh(z)) / 2:
    inner weights four times as large, those of the first layer and of the last twice, and the biases of `centre`.
    """

    def uniform(gain, mode="fan_in"):
        return keras.initializers.VarianceScaling(gain, mode=mode, distribution="uniform")

    gains = {"He": 2, "own": own_gain(activation), "centred": 16 * own_gain("tanh")}
    for layer in dense:
        layer.kernel_initializer = uniform(gains[start]) if start in gains else keras.initializers.GlorotUniform()
    dense[-1].kernel_initializer = uniform(4 if start == "centred" else 1, "fan_avg")  # Glorot's, or twice its weights
    if start == "centred":
        dense[0].kernel_initializer = uniform(gains[start] / 4)


def centre(dense):
    """Set the biases behind sigmoids so that an input of one half counts as nothing."""
    for layer in dense[1:]:
        layer.bias.assign(-0.5 * np.sum(layer.kernel, axis=0))


@functools.lru_cache(maxsize=2)  # compiled networks; runs of a group use the same
def trainer(activation, hidden_layers, normalised):
    hidden = []
    for _ in range(hidden_layers):
        hidden.append(layers.Dense(WIDTH))
        if normalised:
            hidden.append(layers.BatchNormalization())
        hidden.append(layers.Activation(activation))
    model = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / (255 * 0.3081), -0.1307 / 0.3081), layers.Flatten(),
        *hidden, layers.Dense(10)])
    return Trainer(model, keras.optimizers.SGD(momentum=MOMENTUM))


@functools.lru_cache(maxsize=2)
def prober(activation, hidden_layers, normalised):
    """Return a compiled function that looks into the network, at 1,024 training images.

    It returns the length of the gradient by the kernel of each dense layer, and of each hidden layer the share of units
    whose weighted sum is not above zero for any of these images: a ReLU unit of this kind is dead.
    """
    import tensorflow as tf

    trained = trainer(activation, hidden_layers, normalised)
    *hidden, last = dense_layers(trained.model)
    inputs = [layer.input for layer in trained.model.layers if isinstance(layer, layers.Activation)]
    network = keras.Model(trained.model.inputs, [*inputs, last.output])
    kernels = [layer.kernel for layer in (*hidden, last)]
    images, labels = trained.images[:1024], trained.labels[:1024]

    @tf.function
    def probe():
        with tf.GradientTape() as tape:
            *sums, logits = network(images, training=normalised)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        norms = [tf.norm(gradient) for gradient in tape.gradient(loss, kernels)]
        return norms, [tf.reduce_mean(tf.cast(tf.reduce_all(z <= 0, axis=0), tf.float32)) for z in sums]

    return probe


def look(probe):
    """Return the gradient's lengths, with three digits, and the share of units off in the whole network.

    None stands for what is no number, as in a network that diverged.
    """
    norms, off = (np.array([float(value) for value in values]) for values in probe())
    if not np.isfinite(norms).all():
        return [None] * len(norms), None
    return [float(f"{norm:.3g}") for norm in norms], short(off.mean())


def dense_layers(model):
    return [layer for layer in model.layers if isinstance(layer, layers.Dense)]


def run(settings):
    key = settings["activation"], settings["hidden_layers"], settings["start"] == "batch norm"
    trained, probe = trainer(*key), prober(*key)
    dense = dense_layers(trained.model)
    set_start(dense, settings["activation"], settings["start"])
    trained.start(settings["seed"])
    if settings["start"] == "centred":
        centre(dense)
    norms_before, off_before = look(probe)
    record = trained.fit(settings["seed"], settings["learning_rate"], EPOCHS, BATCH_SIZE)
    _, accuracy = trained.evaluate(*trained.test)
    norms_after, off_after = look(probe)
    return {**record, "test_accuracy": short(accuracy), "parameters": trained.model.count_params(),
            "multiply_accumulates": multiply_accumulates(trained.model), "norms_before": norms_before, "norms_after": norms_after,
            "off_before": off_before, "off_after": off_after}


def in_study(settings):
    low, high = WINDOWS.get(settings["activation"], (0.001, 0.1))
    if settings["start"] == "batch norm":
        low = 0.001
    return (settings["activation"] in STARTS[settings["start"]] and low <= settings["learning_rate"] <= high
            and (settings["start"] != "batch norm" or settings["hidden_layers"] == 20))


STUDY = Study(
    __file__, run,
    factors={"activation": ACTIVATIONS, "hidden_layers": [2, 5, 10, 20], "start": list(STARTS), "learning_rate": RATES},
    seeds=5,
    fixed={"units": WIDTH, "epochs": EPOCHS, "batch_size": BATCH_SIZE, "optimizer": f"SGD with momentum {MOMENTUM}",
           "images": "6,144 of MNIST's training images, 4,096 others to choose the rate, the 10,000 test images",
           "input": "pixels less their mean, divided by their deviation", "first_biases": "zero, but for the start centred",
           "last_layer": "10 logits, Glorot uniform"},
    about=__doc__,
    group=lambda settings: (settings["activation"], settings["hidden_layers"], settings["start"] == "batch norm"),
    where=in_study,
)

if __name__ == "__main__":
    STUDY.main()
