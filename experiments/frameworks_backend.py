"""One network on one backend of Keras: what a process does that `frameworks.py`, the chapter or a test has started.

    KERAS_BACKEND=jax python experiments/frameworks_backend.py '{"job": "agree"}' result.npz

The backend is chosen when Keras is imported and cannot be changed in the same process; hence one process for each.
Settings come as JSON, results go to an .npz file: numbers and arrays, nothing of the backend's own.
"""
import json
import os
import sys
import time
from pathlib import Path

started = time.process_time()
sys.path.insert(0, str(Path(__file__).parent.parent))  # the package, where it is not installed
import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import ops  # noqa: E402

from imagebook.studies import article_network, load_split, small_network  # noqa: E402

BACKEND = keras.backend.backend()
BATCH_SIZE, RATE, MOMENTUM = 64, 1 / 32, 0.9


NETWORKS = {"small": small_network, "article": article_network}


def draw_weights(model, seed):
    """Give the model weights that NumPy draws, the same on every backend: Glorot's for kernels, zero for biases."""
    numbers = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        shape = tuple(variable.shape)
        places = int(np.prod(shape[:-2]))  # of a convolution's kernel; 1 for a dense layer's
        limit = np.sqrt(6 / (places * (shape[-2] + shape[-1]))) if len(shape) > 1 else 0.0
        variable.assign(numbers.uniform(-limit, limit, shape).astype("float32"))


def mean_loss(logits, labels):
    """Return the cross-entropy of logits, averaged over the batch."""
    return ops.mean(ops.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def array(tensor):
    return np.asarray(ops.convert_to_numpy(tensor))


def gradient(model, images, labels):
    """Return the loss and its derivatives by the trainable variables, each backend in its own way."""
    if BACKEND == "tensorflow":
        import tensorflow as tf
        with tf.GradientTape() as tape:
            loss = mean_loss(model(images), labels)
        return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    if BACKEND == "jax":
        import jax
        rest = [variable.value for variable in model.non_trainable_variables]

        def loss_of(weights):
            logits, _ = model.stateless_call(weights, rest, images)
            return mean_loss(logits, labels)
        return jax.value_and_grad(loss_of)([variable.value for variable in model.trainable_variables])
    if BACKEND == "torch":
        model.zero_grad()
        loss = mean_loss(model(images), labels)
        loss.backward()
        return loss, [variable.value.grad for variable in model.trainable_variables]
    return mean_loss(model(images), labels), []  # NumPy has no derivatives


class Stepper:
    """A training step that is compiled, or not, as the backend does it: call it with images and labels for the loss.

    mode: "eager"; "compiled", TensorFlow's graph, JAX's jit, or torch.compile; "xla", TensorFlow's graph through XLA.
    """

    def __init__(self, model, optimizer, mode):
        self.model, self.optimizer, self.state = model, optimizer, None
        optimizer.build(model.trainable_variables)
        self.step = getattr(self, f"_{BACKEND}")(mode)

    def __call__(self, images, labels):
        return self.step(ops.convert_to_tensor(images), ops.convert_to_tensor(labels))

    def _tensorflow(self, mode):
        import tensorflow as tf
        variables = [variable.value for variable in self.model.trainable_variables]

        def step(images, labels):
            with tf.GradientTape() as tape:
                loss = mean_loss(self.model(images, training=True), labels)
            self.optimizer.apply(tape.gradient(loss, variables))
            return loss
        return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")

    def _jax(self, mode):
        import jax
        self.load()

        def loss_of(weights, rest, images, labels):
            logits, rest = self.model.stateless_call(weights, rest, images, training=True)
            return mean_loss(logits, labels), rest

        def pure(state, images, labels):
            weights, rest, memory = state
            (loss, rest), slopes = jax.value_and_grad(loss_of, has_aux=True)(weights, rest, images, labels)
            weights, memory = self.optimizer.stateless_apply(memory, slopes, weights)
            return loss, (weights, rest, memory)
        compiled = pure if mode == "eager" else jax.jit(pure)

        def step(images, labels):
            loss, self.state = compiled(self.state, images, labels)
            return loss
        return step

    def _torch(self, mode):
        import torch

        def loss_of(images, labels):
            return mean_loss(self.model(images, training=True), labels)
        compiled = loss_of if mode == "eager" else torch.compile(loss_of)

        def step(images, labels):
            self.model.zero_grad()
            loss = compiled(images, labels)
            loss.backward()
            with torch.no_grad():
                self.optimizer.apply([variable.value.grad for variable in self.model.trainable_variables])
            return loss.detach()
        return step

    def variables(self):
        return self.model.trainable_variables, self.model.non_trainable_variables, self.optimizer.variables

    def load(self):
        """Read the variables: JAX's step is a pure function and keeps its state outside of them."""
        if BACKEND == "jax":
            self.state = tuple([variable.value for variable in group] for group in self.variables())

    def store(self):
        """Write the state back to the variables."""
        if BACKEND == "jax":
            for group, values in zip(self.variables(), self.state):
                for variable, value in zip(group, values):
                    variable.assign(value)


def flat(variables):
    return np.concatenate([array(variable).ravel() for variable in variables])


def agree(network="small", seed=0, images=128, dtype="float32"):
    """Return outputs of all layers, loss and gradient on the first training images, with weights of this seed."""
    keras.config.set_floatx(dtype)
    (x, y), _, _ = load_split()
    model = NETWORKS[network]()
    draw_weights(model, seed)
    h = ops.convert_to_tensor(x[:images].astype(dtype))
    labels = ops.convert_to_tensor(y[:images])
    loss, slopes = gradient(model, h, labels)
    result = {"loss": array(loss), "gradient": flat(slopes) if slopes else np.zeros(0)}
    for number, layer in enumerate(model.layers):
        h = layer(h)
        result[f"layer_{number}"] = array(h)
    return result


def train(seeds=1, epochs=8, mode="compiled", dtype="float32", nudge=False, snapshots=(), first_seed=0):
    """Return weights after the steps in `snapshots`, test logits and accuracies after small trainings, one a seed.

    nudge: the first weight begins at the next number that float32 can hold.
    """
    keras.config.set_floatx(dtype)
    (x, y), _, (x_test, y_test) = load_split()
    model = small_network()
    optimizer = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    step = Stepper(model, optimizer, mode)
    zeros = [array(variable) for variable in optimizer.variables]
    kept, accuracies, answers = [], [], []
    for seed in range(first_seed, first_seed + seeds):
        draw_weights(model, seed)
        if nudge:
            kernel = array(model.trainable_variables[0]).copy()
            kernel.flat[0] = np.nextafter(kernel.flat[0], np.float32(9))
            model.trainable_variables[0].assign(kernel)
        for variable, value in zip(optimizer.variables, zeros):
            variable.assign(value)
        step.load()
        numbers, done = np.random.default_rng([seed, 1]), 0
        for _ in range(epochs):
            for some in numbers.permutation(len(x)).reshape(-1, BATCH_SIZE):
                step(x[some], y[some])
                done += 1
                if seed == first_seed and done in snapshots:
                    step.store()
                    kept.append(flat(model.trainable_variables))
        step.store()
        logits = np.concatenate([array(model(x_test[first:first + 2000])) for first in range(0, 10_000, 2000)])
        answers.append(logits.argmax(axis=1))
        accuracies.append(np.mean(answers[-1] == y_test))
    return {"weights": np.array(kept), "answers": np.array(answers, "uint8"), "accuracies": np.array(accuracies)}


def noise(count):
    """Return images and labels without meaning: no clock depends on what the numbers are."""
    numbers = np.random.default_rng(0)
    return numbers.integers(0, 256, (count, 28, 28, 1), "uint8"), numbers.integers(0, 10, count, "int32")


def spent():
    """Return the processor seconds of this process and of those it has started and seen end (compilers).

    On one processor and in one thread they are the seconds that an idle machine would take, and unlike those they do
    not depend on what else this one is doing.
    """
    import resource  # not on Windows

    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def clock(network="small", mode="compiled", batch_size=128, steps=50, rounds=5):
    """Return processor seconds of the first, the second and a later step, and the peak of memory in MB.

    A round is so many steps; the quickest counts, since whatever else the machine does only ever adds.
    """
    model = NETWORKS[network]()
    draw_weights(model, 0)
    step = Stepper(model, keras.optimizers.SGD(RATE, momentum=MOMENTUM), mode)
    images, labels = noise(batch_size)
    before, marks = memory(), [spent()]
    for many in [1, 1] + [steps] * rounds:
        for _ in range(many):
            loss = step(images, labels)
        float(loss)  # waits for what is under way
        marks.append(spent())
    seconds = np.diff(marks)
    return {"first": seconds[0], "second": seconds[1], "step": seconds[2:].min() / steps,
            "median": np.median(seconds[2:]) / steps, "memory_before": before, "memory": memory(),
            "loaded": loaded, "loss": float(loss)}


def clock_fit(network="small", batch_size=128, epochs=6, **compile_settings):
    """Return processor seconds a step of Keras's own `fit`, of the quickest epoch after the first."""
    model = NETWORKS[network]()
    draw_weights(model, 0)
    model.compile(keras.optimizers.SGD(RATE, momentum=MOMENTUM),
                  keras.losses.SparseCategoricalCrossentropy(from_logits=True), **compile_settings)
    marks = [spent()]
    tell = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: marks.append(spent()))
    count = (48 if network == "small" else 8) * batch_size
    model.fit(*noise(count), batch_size=batch_size, epochs=epochs, verbose=0, callbacks=[tell])
    seconds = np.diff(marks)
    return {"first": seconds[0], "step": seconds[1:].min() / (count // batch_size), "memory": memory(),
            "jit": bool(model.jit_compile)}


def expression():
    """Return the text of what JAX records of a small function and of its derivative."""
    import jax
    from jax import numpy as jnp

    def loss(w, x):
        return jnp.sum(jnp.maximum(x @ w, 0.0))
    w, x = jnp.ones((4, 2)), jnp.ones((3, 4))
    return {"loss": str(jax.make_jaxpr(loss)(w, x)), "gradient": str(jax.make_jaxpr(jax.grad(loss))(w, x))}


def clock_native(compiled=False, batch_size=128, steps=50, rounds=5):
    """Return what `clock` does for the small network written in PyTorch alone, without Keras."""
    import torch
    from torch import nn
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 10))
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM)
    images, labels = (torch.from_numpy(part) for part in noise(batch_size))
    images, labels = images.movedim(-1, 1), labels.long()

    def loss_of(images, labels):
        return nn.functional.cross_entropy(model(images.float() / 255), labels)
    compute = torch.compile(loss_of) if compiled else loss_of

    marks = [spent()]
    for many in [1, 1] + [steps] * rounds:
        for _ in range(many):
            optimizer.zero_grad()
            loss = compute(images, labels)
            loss.backward()
            optimizer.step()
        marks.append(spent())
    seconds = np.diff(marks)
    return {"first": seconds[0], "second": seconds[1], "step": seconds[2:].min() / steps, "memory": memory(),
            "parameters": sum(weight.numel() for weight in model.parameters())}


def clock_inference(network="small", images=1024, rounds=5):
    """Return processor seconds for the logits of so many images, without compilation."""
    model = NETWORKS[network]()
    draw_weights(model, 0)
    batch, seconds = ops.convert_to_tensor(noise(images)[0].astype("float32")), []
    for _ in range(rounds + 1):
        begun = spent()
        array(model(batch))
        seconds.append(spent() - begun)
    return {"seconds": min(seconds[1:]), "first": seconds[0], "memory": memory()}


def memory():
    """Return the most memory that this process has held, in MB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def one_core():
    """Keep this process to one processor, where the system can, so that frameworks are compared thread for thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if BACKEND == "torch":
        import torch
        torch.set_num_threads(1)


JOBS = {job.__name__: job for job in (agree, train, expression, clock, clock_fit, clock_native, clock_inference)}

if __name__ == "__main__":
    loaded = time.process_time() - started  # what it costs to import all that
    settings = json.loads(sys.argv[1])
    one_core()
    np.savez(sys.argv[2], **JOBS[settings.pop("job")](**settings))
