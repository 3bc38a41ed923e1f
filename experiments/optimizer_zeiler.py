"""The two tables of Zeiler (2012), repeated: experiments/optimizer_zeiler.jsonl.

    python experiments/optimizer_zeiler.py --workers 2

A network of 784-500-300-10 units on all 60,000 training images of MNIST, 6 epochs in batches of 100; stochastic
gradient descent, momentum and Adagrad at five learning rates, Adadelta (its learning rate 1) at three rho and four
epsilon. As in the paper the letter epsilon stands for the learning rate in the first table. What we could not take
from the paper: the first weights (Glorot's, or He's for ReLU), momentum (0.9), the scale of the pixels (0 to 1).
See chapter `optimizer`.
"""
import functools

import keras
from keras import layers

from imagebook import load_mnist
from imagebook.studies import Study, Trainer

EPOCHS, BATCH_SIZE = 6, 100
RATES, EPSILONS = [1.0, 0.1, 0.01, 1e-3, 1e-4], [0.01, 1e-4, 1e-6, 1e-8]
RHO = {"Adadelta, 0.9": 0.9, "Adadelta, 0.95": 0.95, "Adadelta, 0.99": 0.99}


def make_optimizer(name, epsilon):
    if name in RHO:
        return keras.optimizers.Adadelta(1.0, rho=RHO[name], epsilon=epsilon)
    if name == "Adagrad":  # in the paper the sum of squares begins at zero
        return keras.optimizers.Adagrad(epsilon, initial_accumulator_value=0.0)
    return keras.optimizers.SGD(epsilon, momentum=0.9 if name == "momentum" else 0.0)


@functools.cache
def data():
    (x, y), (x_test, y_test) = load_mnist()
    x, x_test, y, y_test = x[..., None], x_test[..., None], y.astype("int32"), y_test.astype("int32")
    # All training images train, as in the paper; so validation, of which nothing is chosen here, is on some of them.
    return (x, y), (x[:2000], y[:2000]), (x_test, y_test)


@functools.lru_cache(maxsize=1)
def trainer(activation, name, epsilon):
    keras.backend.clear_session()
    first = "he_uniform" if activation == "relu" else "glorot_uniform"
    model = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255), layers.Flatten(),
        layers.Dense(500, activation=activation, kernel_initializer=first),
        layers.Dense(300, activation=activation, kernel_initializer=first),
        layers.Dense(10, kernel_initializer="glorot_uniform"),
    ])
    return Trainer(model, make_optimizer(name, epsilon), data())


def run(settings):
    name, epsilon = settings["optimizer"], settings["epsilon"]
    # The rate is given at every step; only Adadelta's epsilon is compiled into its step.
    machine = trainer(settings["activation"], name, epsilon if name in RHO else 1.0)
    rate = 1.0 if name in RHO else epsilon
    return machine.run(seed=settings["seed"], rates=rate, epochs=EPOCHS, batch_size=BATCH_SIZE)


def exists(settings):
    """Say whether the run is in the tables; of Adadelta with tanh only the one setting that the paper names."""
    name, epsilon = settings["optimizer"], settings["epsilon"]
    if settings["activation"] == "tanh" and name in RHO:
        return (name, epsilon) == ("Adadelta, 0.95", 1e-6)
    return epsilon in (EPSILONS if name in RHO else RATES)


STUDY = Study(
    __file__, run, seeds=1,
    factors={"activation": ["relu", "tanh"], "optimizer": ["SGD", "momentum", "Adagrad", *RHO],
             "epsilon": sorted({*RATES, *EPSILONS}, reverse=True)},
    fixed={"model": "dense 500, dense 300, dense 10", "training images": 60_000, "validation": "2,000 of these",
           "epochs": EPOCHS, "batch_size": BATCH_SIZE, "momentum": 0.9, "learning rate of Adadelta": 1.0,
           "Adagrad": "initial accumulator 0, epsilon 1e-7", "pixels": "0 to 1"},
    about="the tables of Zeiler (2012) repeated: a 784-500-300-10 network, 6 epochs of MNIST",
    group=lambda settings: (settings["activation"], settings["optimizer"]), where=exists)

if __name__ == "__main__":
    STUDY.main()
