"""One of several processes that train one network together: what `frameworks.py`, the chapter or a test has started.

    TF_CONFIG='{"cluster": …, "task": …}' python experiments/frameworks_worker.py '[{"job": "train"}]' result.npz

Without TF_CONFIG it is alone. The jobs are done one after another, by all workers alike; the results go to one .npz
file a worker, under names such as "0_weights". A worker that fails writes down what stopped it.
"""
import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the package, where it is not installed
sys.path.insert(0, str(Path(__file__).parent))
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402

from frameworks_backend import NETWORKS, draw_weights  # noqa: E402
from imagebook.studies import load_split  # noqa: E402

RATE, MOMENTUM = 1 / 32, 0.9
TASK = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {"index": 0})["index"]


def normalised_network(synchronized=False):
    """Return the small network with batch normalisation before each ReLU, over one worker's images or over all."""
    def norm():
        return layers.BatchNormalization(synchronized=synchronized)
    return keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255),
        layers.Conv2D(8, 5, strides=2, use_bias=False), norm(), layers.ReLU(),
        layers.Conv2D(16, 3, use_bias=False), norm(), layers.ReLU(), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(10),
    ])


def make(network, seed):
    """Return a network with weights of this seed, and its optimizer; to be called in the strategy's scope."""
    if network == "normalised":
        model = normalised_network()
    elif network == "synchronized":
        model = normalised_network(synchronized=True)
    else:
        model = NETWORKS[network]()
    draw_weights(model, seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(np.ones(layer.gamma.shape))
    optimizer = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    optimizer.build(model.trainable_variables)
    return model, optimizer


def make_step(strategy, model, optimizer):
    """Return the function that does one step on this worker's images, in step with all the others."""
    weights = [variable.value for variable in model.trainable_variables]

    def replica(images, labels, divisor):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_sum(losses) / divisor
        optimizer.apply(tape.gradient(loss, weights))  # adds up the gradients of all workers first
        return loss

    @tf.function(reduce_retracing=True)
    def step(images, labels, divisor):
        losses = strategy.run(replica, (images, labels, divisor))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    return step


def batches(count, batch_size, seed):
    """Yield the numbers of the images of every step, for ever; which they are depends on the step and the seed alone."""
    epoch = 0
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(count)
        yield from order[:count // batch_size * batch_size].reshape(-1, batch_size)
        epoch += 1


def flat(variables):
    return np.concatenate([np.ravel(variable.numpy()) for variable in variables])


def train(strategy, steps=20, batch_size=128, network="small", seed=0, shares=None, divide="all",
          folder=None, every=0, memory=True, dies=None, stops=None, progress=None):
    """Train for so many steps and return weights, losses, and the seconds of every step.

    shares: how many images of a batch each worker takes; equal by default. divide: the sum of an image's losses by
    the size of the whole batch ("all"), or by its own share times the number of workers ("own": the mean of means).
    folder, every: save to this folder every so many steps, and begin from what is there; without `memory`, without
    the optimizer's momentum. dies, stops: [worker, step], kill or stop that worker before that step.
    """
    (x, y), _, _ = load_split()
    workers = strategy.num_replicas_in_sync
    cuts = np.cumsum([0, *(shares or [batch_size // workers] * workers)])
    with strategy.scope():
        model, optimizer = make(network, seed)
    step = make_step(strategy, model, optimizer)
    done = tf.Variable(0, dtype=tf.int64)
    kept = {"weights": [variable.value for variable in model.variables], "done": done}
    if memory:
        kept["memory"] = [variable.value for variable in optimizer.variables]
    if folder:
        checkpoint = tf.train.Checkpoint(**kept)
        # Every worker must take part in saving, but only the first one's files are read again.
        manager = tf.train.CheckpointManager(checkpoint, Path(folder) / str(TASK), max_to_keep=2)
        latest = tf.train.latest_checkpoint(str(Path(folder) / "0"))
        if latest:
            checkpoint.restore(latest)
    first, losses, seconds, saving = int(done.numpy()), [], [], []
    for number, batch in enumerate(batches(len(x), batch_size, seed)):
        if number < first:
            continue
        if number == steps:
            break
        hit(dies, number, getattr(signal, "SIGKILL", signal.SIGTERM))
        hit(stops, number, getattr(signal, "SIGSTOP", signal.SIGTERM))
        mine = batch[cuts[TASK]:cuts[TASK + 1]]
        divisor = batch_size if divide == "all" else len(mine) * workers
        begun = time.perf_counter()
        loss = step(tf.constant(x[mine]), tf.constant(y[mine]), tf.constant(divisor, tf.float32))
        losses.append(float(loss))
        seconds.append(time.perf_counter() - begun)
        done.assign_add(1)
        if progress:
            Path(f"{progress}.{TASK}").write_text(f"{number + 1} {time.time()}")
        if every and (number + 1) % every == 0:
            begun = time.perf_counter()
            manager.save()
            saving.append(time.perf_counter() - begun)
    return {"weights": flat(model.trainable_variables), "losses": losses, "seconds": seconds, "saving": saving,
            "first": first}


def hit(whom, step, kind):
    if whom and list(whom) == [TASK, step]:
        os.kill(os.getpid(), kind)


def collective(strategy, sizes=(1000, 10_000, 100_000, 1_000_000, 10_000_000), rounds=8, repeat=5):
    """Return the seconds of adding up n numbers of all workers, for every n: the quickest of the rounds."""
    found, right = [], True
    for size in sizes:
        @tf.function
        def many(numbers):
            def replica(numbers):
                context, numbers = tf.distribute.get_replica_context(), tf.identity(numbers)  # now it has a device
                for _ in range(repeat):
                    [numbers] = context.all_reduce(tf.distribute.ReduceOp.SUM, [numbers])
                return numbers
            return strategy.run(replica, (numbers,))
        seconds = []
        for _ in range(rounds + 1):
            numbers = tf.fill([size], float(TASK + 1))
            begun = time.perf_counter()
            total = many(numbers)[0].numpy()
            seconds.append((time.perf_counter() - begun) / repeat)
        # 1 + 2 = 3, and every further time the sum is doubled.
        right &= bool(total == 3 * 2**(repeat - 1)) or strategy.num_replicas_in_sync != 2
        found.append(seconds[1:])
    return {"sizes": np.array(sizes), "seconds": np.array(found), "right": right}


def fit(strategy, batch_size=128):
    """Try Keras's own fit under the strategy."""
    (x, y), _, _ = load_split()
    with strategy.scope():
        model, optimizer = make("small", 0)
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size), epochs=1, verbose=0)
    return {"weights": flat(model.trainable_variables)}


def own_core():
    """Keep this worker to a processor of its own, where the system can and there are enough."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[TASK % len(cores)]})


def main(jobs, path):
    own_core()
    started, results = time.process_time(), {}
    together = "TF_CONFIG" in os.environ
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if together else tf.distribute.get_strategy()
    for number, settings in enumerate(jobs):
        job = {"train": train, "collective": collective, "fit": fit}[settings.pop("job")]
        begun = time.time()
        try:
            result = job(strategy, **settings)
        except Exception as error:
            result = {"error": type(error).__name__, "message": str(error)[:2000], "after": time.time() - begun}
        results |= {f"{number}_{name}": value for name, value in result.items()}
        if "error" in result:
            break
    results["cpu_seconds"] = time.process_time() - started
    np.savez(path, **results)
    if "error" in result:
        sys.stderr.flush()
        os._exit(1)  # an orderly end would wait for the others


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2])
