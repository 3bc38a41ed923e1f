"""What the networks of chapter `edge` weigh, how long they take, how they read: experiments/edge_deploy.json and .npz.

    python experiments/edge_deploy.py          about four minutes of one processor

Everything that leaves Keras: conversion to LiteRT in five formats, latency for single images on one thread, two sparse
formats of the article's dense layer, the article's network cut and rounded after training, and both networks of 8-bit
weights in JavaScript, in a headless Chromium. The .npz has the weights of the small networks that are measured.
"""
import base64
import contextlib
import gzip
import json
import os
import shutil
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers

import edge
from edge_teacher import page_weights
from imagebook.records import replacing, write_arrays
from imagebook.studies import article_network, load_split, multiply_accumulates, provenance, short

HERE = Path(__file__).parent
FORMATS = ["float32", "float16", "dynamic", "int8", "int16x8"]
SEEDS, CUTS = range(5), [0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# The small network in whole numbers, as LiteRT's default kernels compute it; `layers` are convolutions, then a dense one.
SMALL_JS = """
const even = (x) => { const r = Math.round(x); return Math.abs(x % 1) === 0.5 && r % 2 ? r - 1 : r; };
const clip = (x) => Math.max(-128, Math.min(127, x));
function layer(input, [size, channels], { kernel, bias, factor, side, stride, count, zeroIn, zeroOut }) {
  const width = Math.floor((size - side) / stride) + 1, output = new Int8Array(width * width * count);
  const sums = new Int32Array(count);
  for (let y = 0; y < width; y++) for (let x = 0; x < width; x++) {
    sums.set(bias);
    for (let u = 0; u < side; u++) for (let v = 0; v < side; v++) {
      const from = ((y * stride + u) * size + x * stride + v) * channels;
      for (let c = 0; c < channels; c++) {
        const value = input[from + c] - zeroIn;
        if (value === 0) continue;
        const row = ((u * side + v) * channels + c) * count;
        for (let n = 0; n < count; n++) sums[n] += value * kernel[row + n];
      }
    }
    for (let n = 0; n < count; n++)
      output[(y * width + x) * count + n] = clip(even(Math.fround(Math.fround(sums[n]) * factor[n])) + zeroOut);
  }
  return [output, [width, count]];
}
function pool(input, [size, channels]) {
  const width = size >> 1, output = new Int8Array(width * width * channels), line = size * channels;
  for (let y = 0; y < width; y++) for (let x = 0; x < width; x++) for (let n = 0; n < channels; n++) {
    const i = 2 * (y * line + x * channels) + n;
    output[(y * width + x) * channels + n] =
      Math.max(input[i], input[i + channels], input[i + line], input[i + line + channels]);
  }
  return [output, [width, channels]];
}
const read = (given) => ({ ...given, kernel: Int8Array.from(given.kernel), bias: Int32Array.from(given.bias),
  factor: Float32Array.from(given.factor) });
function forward([first, second, last], image) {
  const a = layer(image, [28, 1], first), b = layer(...a, second), c = pool(...b);
  return layer(c[0], c[1], last)[0];
}
"""


@contextlib.contextmanager
def quiet():
    """Send what converters say, in Python and in C++, to nowhere."""
    saved = [os.dup(stream) for stream in (1, 2)]
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        for stream in (1, 2):
            os.dup2(sink.fileno(), stream)
        try:
            yield
        finally:
            for stream, copy in zip((1, 2), saved):
                os.dup2(copy, stream)
                os.close(copy)


def deployable(model):
    """Return the same network for one image of float32 from 0 to 1, without the layers that only train."""
    kept = [layer for layer in model.layers if not isinstance(layer, (layers.Rescaling, layers.Dropout))]
    copy = keras.Sequential([keras.Input((28, 28, 1), batch_size=1), *(type(layer).from_config(layer.get_config()) for layer in kept)])
    copy.set_weights(model.get_weights())
    return copy


def convert(model, kind, images):
    """Return a LiteRT file of the network, as bytes; `images`, uint8, are what int8 and int16x8 are calibrated with."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "int16x8"):
        converter.representative_dataset = lambda: ([image[None].astype("float32") / 255] for image in images)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8 if kind == "int8"
            else tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    if kind == "int8":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet():
        return converter.convert()


class Runner:
    """A LiteRT file on one thread, one image at a time."""

    def __init__(self, content, resolver=OpResolverType.AUTO):
        with quiet():
            self.interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
            self.interpreter.allocate_tensors()
        self.entry, self.exit = self.interpreter.get_input_details()[0], self.interpreter.get_output_details()[0]

    def prepare(self, image):
        """Return an image of bytes as this file wants it; with 8 bits, that is the bytes less 128."""
        if self.entry["dtype"] == np.int8:
            scale, zero = self.entry["quantization"]
            return np.clip(np.rint(image[None] / 255 / scale) + zero, -128, 127).astype(np.int8)
        return image[None].astype(np.float32) / 255

    def __call__(self, prepared):
        self.interpreter.set_tensor(self.entry["index"], prepared)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.exit["index"])[0]

    def answers(self, images):
        return np.array([self(self.prepare(image)) for image in images])


def accuracy(answers, labels):
    return short(np.mean(answers.argmax(axis=1) == labels))


def latencies(runners, images, rounds=7, repeats=400):
    """Return for every runner the median microseconds of a call in each of several rounds, all of them taking turns."""
    found = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            many = 25 if name == "article int16x8" else repeats
            prepared = [runner.prepare(image) for image in images[:many]]
            for image in prepared[:20]:
                runner(image)
            times = []
            for image in prepared:
                started = time.perf_counter()
                runner(image)
                times.append(time.perf_counter() - started)
            found[name].append(round(1e6 * float(np.median(times)), 2))
    return found


def small_models():
    """Return the small networks that are measured, by name: dense, with half of the maps, pruned, and for students."""
    models = {}
    for seed in SEEDS:
        models[f"small {seed}"] = (edge.SMALL, edge.trained(edge.SMALL, seed, edge.STEPS))
    for name, settings in {
        "tiny": dict(method="tiny labels", level=0, images=6144), "maps": dict(method="maps, tuned", level=0.5, images=6144),
        "quarter": dict(method="maps, tuned", level=0.25, images=6144),
        "pruned": dict(method="gradual", level=0.8, images=6144), "pooled": dict(method="pooled", level=0.5, images=6144),
        "together": dict(method="together", level=0.5, images=6144),
    }.items():
        edge.run({**settings, "seed": 0})
        pooled = (edge.DENSE["pooled"][0.5], 5)
        architecture = {"tiny": edge.TINY, "maps": ((4, 8), 2), "quarter": ((2, 4), 2), "pruned": edge.SMALL,
                        "pooled": pooled, "together": pooled}[name]
        models[name] = (architecture, edge.shrinker(*architecture).model.get_weights())
    built = {}
    for name, (architecture, weights) in models.items():
        built[name] = edge.network(*architecture)
        built[name].set_weights(weights)
    return built


def timed_only(calibration):
    """Return files whose time alone counts: the article's network with nine tenths zeros, and with half of its maps."""
    cut, half = article_network(), keras.Sequential([
        keras.Input((28, 28, 1)), layers.Rescaling(1 / 255), layers.Conv2D(16, 3, activation="relu"),
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(64, activation="relu"), layers.Dense(10),
    ])
    full = page_weights()
    cut.set_weights([np.where(np.abs(weight) >= np.quantile(np.abs(weight), 0.9), weight, 0) if weight.ndim > 1 else weight
                     for weight in full])
    models = {"article cut": cut, "article half": half}
    counts = {name: multiply_accumulates(model) for name, model in models.items()}
    kinds = [(name, kind) for name in models for kind in ("float32", "int8")]
    return {f"{name} {kind}": Runner(convert(deployable(models[name]), kind, calibration)) for name, kind in kinds}, counts


def exactness(content, images):
    """Return how many of the numbers that two sets of LiteRT's kernels give are not those of `whole_numbers`."""
    found = {}
    kernels = {}
    for name, resolver in (("default", OpResolverType.AUTO), ("reference", OpResolverType.BUILTIN_REF)):
        kernels[name] = Runner(content, resolver).answers(images).astype(int)
        ours = whole_numbers(content, images, name)
        found[name] = {"different": int(np.sum(ours != kernels[name])), "largest": int(np.abs(ours - kernels[name]).max())}
    found["between the two"] = {
        "different": int(np.sum(kernels["default"] != kernels["reference"])),
        "largest": int(np.abs(kernels["default"] - kernels["reference"]).max()), "numbers": kernels["default"].size}
    return found


def tensors(content):
    """Return the int8 network's numbers: for each layer kernel (outputs last), bias, scales and zero points."""
    runner = Runner(content, OpResolverType.BUILTIN_REF)
    interpreter = runner.interpreter
    details = {entry["index"]: entry for entry in interpreter.get_tensor_details()}
    found = []
    for step in interpreter._get_ops_details():
        if step["op_name"] in ("CONV_2D", "FULLY_CONNECTED"):
            entry, kernel, bias = (details[index] for index in step["inputs"])
            leave = details[step["outputs"][0]]
            found.append({
                "kernel": np.moveaxis(interpreter.get_tensor(kernel["index"]), 0, -1).astype(int),
                "bias": interpreter.get_tensor(bias["index"]).astype(int),
                "scales": kernel["quantization_parameters"]["scales"], "in": entry["quantization"], "out": leave["quantization"],
            })
    return found


def whole_numbers(content, images, name):
    """Compute the small network in whole numbers as LiteRT's default or its reference kernels do."""
    h = images.astype(int) - 128
    for number, layer in enumerate(tensors(content)):
        (scale_in, zero_in), (scale_out, zero_out) = layer["in"], layer["out"]
        h = h - zero_in
        if number < 2:
            side = layer["kernel"].shape[0]
            windows = np.lib.stride_tricks.sliding_window_view(h, (side, side), (1, 2))
            windows = windows[:, ::2, ::2] if number == 0 else windows
            sums = np.tensordot(windows, layer["kernel"], ([4, 5, 3], [0, 1, 2])) + layer["bias"]
        else:
            sums = h.reshape(len(h), -1) @ layer["kernel"] + layer["bias"]
        if name == "default":
            factor = np.float32(scale_in) * layer["scales"] / np.float32(scale_out)
            h = np.rint(sums.astype(np.float32) * factor).astype(int)
        else:
            h = fixed_point(sums, float(scale_in) * layer["scales"].astype(float) / float(scale_out), twice=number < 2)
        h = np.clip(h + zero_out, -128, 127)
        if number == 1:
            h = h.reshape(len(h), 5, 2, 5, 2, -1).max(axis=(2, 4))
    return h


def fixed_point(sums, factors, twice):
    """Multiply by a factor below 1 with whole numbers only, and round once, or twice as the convolutions do."""
    fractions, powers = np.frexp(factors)
    whole, shift = np.rint(fractions * 2**31).astype(np.int64), -powers.astype(np.int64)
    if not twice:
        return (sums * whole + (1 << (30 + shift))) >> (31 + shift)
    product = sums * whole
    product += np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(product >= 0, product >> 31, -((-product) >> 31))
    return (high >> shift) + ((high & ((1 << shift) - 1)) > ((1 << shift) - 1 >> 1) + (high < 0))


def sparse_layer(weights, repeats=300):
    """Return the microseconds of the article's dense layer as a matrix, dense and in a compressed format, one thread."""
    from scipy import sparse

    dense, vector = np.ascontiguousarray(weights.T), np.maximum(np.random.default_rng(0).standard_normal(weights.shape[0]), 0).astype("float32")
    matrices = {"dense": dense}
    for share in CUTS:
        limit = np.quantile(np.abs(dense), share)
        matrices[share] = sparse.csr_array(np.where(np.abs(dense) >= limit, dense, 0).astype("float32"))
    found = {name: [] for name in matrices}
    for _ in range(7):
        for name, matrix in matrices.items():
            times = []
            for _ in range(repeats // 7):
                started = time.perf_counter()
                matrix @ vector
                times.append(time.perf_counter() - started)
            found[name].append(float(np.median(times)))
    return {str(name): round(1e6 * float(np.median(times)), 1) for name, times in found.items()}


def article_cut(images, labels):
    """Cut and round the article's network after training; without and with a single pass over 6,144 images."""
    model, full, found = article_network(), page_weights(), []
    model.set_weights(full)
    model.compile(keras.optimizers.Adam(3e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    (train, train_labels), *_ = load_split()
    everything = np.concatenate([np.abs(weight).ravel() for weight in full if weight.ndim > 1])
    for share in CUTS:
        limit = np.quantile(everything, share)
        masks = [np.abs(weight) >= limit if weight.ndim > 1 else np.ones(weight.shape, bool) for weight in full]
        model.set_weights([weight * mask for weight, mask in zip(full, masks)])
        entry = {"cut": share, "test_accuracy": accuracy(model.predict(images, batch_size=256, verbose=0), labels)}
        if share >= 0.95:
            apply = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs=None: [
                variable.assign(variable * mask) for variable, mask in zip(model.trainable_variables, masks)])
            model.optimizer.build(model.trainable_variables)
            model.fit(train, train_labels, batch_size=64, epochs=1, verbose=0, callbacks=[apply])
            entry["tuned"] = accuracy(model.predict(images, batch_size=256, verbose=0), labels)
        weights = model.get_weights()
        entry |= {"gzipped": len(gzip.compress(edge.stored(weights), 9, mtime=0)),
                  "nonzero": int(sum(np.count_nonzero(weight) for weight in weights)),
                  "left": [round(float(np.count_nonzero(weight) / weight.size), 4) for weight in weights[::2]]}
        found.append(entry)
        print(entry, flush=True)
    for bits in (4, 3, 2):
        top = 2 ** (bits - 1) - 1
        model.set_weights([edge.rounded(weight, top).numpy() if weight.ndim > 1 else weight for weight in full])
        found.append({"bits": bits, "test_accuracy": accuracy(model.predict(images, batch_size=256, verbose=0), labels)})
        print(found[-1], flush=True)
    return found


def in_browser(content, images, labels):
    """Measure both networks in JavaScript; return their milliseconds, accuracy, and agreement with LiteRT."""
    from imagebook.widgets.digit_pad import DIGIT_PAD
    from playwright.sync_api import sync_playwright

    with np.load(DIGIT_PAD) as file:
        shapes = [file[f"kernel_{number}"].shape for number in range(4)]
        stored = b"".join([file["scales"].tobytes(), file["biases"].tobytes(), *(file[f"kernel_{n}"].tobytes() for n in range(4))])
    given = []
    for layer, (side, stride) in zip(tensors(content), [(5, 2), (3, 1), (5, 1)]):
        factor = np.float32(layer["in"][0]) * layer["scales"] / np.float32(layer["out"][0])
        given.append({"kernel": layer["kernel"].ravel().tolist(), "bias": layer["bias"].tolist(), "factor": factor.tolist(),
                      "side": side, "stride": stride, "count": len(layer["bias"]), "zeroIn": layer["in"][1], "zeroOut": layer["out"][1]})
    script = (HERE.parent / "imagebook" / "widgets" / "digit_pad.js").read_text(encoding="utf-8")
    text = lambda data: base64.b64encode(data).decode()
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)), None) or sys.exit("No Chromium found: install it (apt install chromium).")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page, version = browser.new_page(), browser.version
        found = page.evaluate("""async ([source, weights, shapes, pictures, given, small]) => {
            const pad = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
            const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const all = bytes(pictures), count = all.length / 784, layers = pad.decode(bytes(weights), shapes);
            const { read, forward } = new Function(small + "; return { read, forward }")();
            const network = given.map(read), most = (list) => list.indexOf(Math.max(...list));
            const clock = (call, from, to) => { const times = [], answers = [];
                for (let n = from; n < to; n++) { const started = performance.now(); answers.push(call(n));
                    times.push(performance.now() - started); }
                return { times, answers }; };
            const big = (n) => pad.forward(layers, Float32Array.from(all.subarray(784 * n, 784 * n + 784), (v) => v / 255)).probabilities;
            const little = (n) => forward(network, Int8Array.from(all.subarray(784 * n, 784 * n + 784), (v) => v - 128));
            clock(big, 0, 50); clock(little, 0, 500);
            // The browser's clock is coarse: twenty passes of the small network are timed together.
            const rounds = [];
            for (let round = 0; round < 7; round++) rounds.push([clock(big, 50, 150).times,
                clock((n) => { for (let i = 0; i < 20; i++) little(20 * n + i); }, 0, 100).times]);
            const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
            return { article_ms: rounds.map((round) => median(round[0])), small_ms: rounds.map((round) => median(round[1]) / 20),
                article: clock(big, 0, count).answers.map(most), small: clock(little, 0, count).answers.map((v) => [...v]) };
        }""", [script, text(stored), shapes, text(images.tobytes()), given, SMALL_JS])
        browser.close()
    small = np.array(found["small"])
    litert = Runner(content).answers(images).astype(int)
    return {
        "browser": version, "article_ms": [round(ms, 3) for ms in found["article_ms"]], "small_ms": [round(ms, 4) for ms in found["small_ms"]],
        "article_accuracy": short(np.mean(np.array(found["article"]) == labels)), "article_bytes": len(stored),
        "small_accuracy": accuracy(small, labels), "small_different_from_litert": int(np.sum(small != litert)),
        "script_bytes": len(SMALL_JS.encode()),
    }


def main():
    (train, _), _, (images, labels) = load_split()
    calibration, found, started = train[:200], {}, time.process_time()
    models = small_models()
    article = article_network()
    article.set_weights(page_weights())
    files = {}
    for name, model in {**models, "article": article}.items():
        kinds = FORMATS if name.startswith("small") or name == "article" else ["float32", "int8"]
        for kind in kinds:
            files[f"{name} {kind}"] = convert(deployable(model), kind, calibration)
    found["macs"] = {name: multiply_accumulates(model) for name, model in {**models, "article": article}.items()}
    runners = {name: Runner(content) for name, content in files.items()}
    found["files"] = []
    for name, content in files.items():
        many = 1000 if name == "article int16x8" else len(images)
        entry = {"file": name, "bytes": len(content), "gzipped": len(gzip.compress(content, 9, mtime=0)),
                 "test_accuracy": accuracy(runners[name].answers(images[:many]), labels[:many]), "test_images": many}
        found["files"].append(entry)
        print(entry, flush=True)
    found["keras"] = {name: accuracy(model.predict(images, batch_size=256, verbose=0), labels) for name, model in models.items()}
    nothing = keras.Sequential([keras.Input((28, 28, 1), batch_size=1), layers.MaxPooling2D(14)])
    timed = {name: runner for name, runner in runners.items() if not name.startswith("small") or name.startswith("small 0")}
    more, counts = timed_only(calibration)
    timed |= more
    found["macs"] |= counts
    timed["nothing float32"] = Runner(convert(nothing, "float32", None))
    timed["small 0 int8, reference kernels"] = Runner(files["small 0 int8"], OpResolverType.BUILTIN_REF)
    timed["small 0 float32, reference kernels"] = Runner(files["small 0 float32"], OpResolverType.BUILTIN_REF)
    found["microseconds"] = latencies(timed, images)
    print(found["microseconds"], flush=True)
    found["calibration"] = []
    for seed in SEEDS:
        for kind, pictures in {
            **{str(count): train[200:200 + count] for count in (1, 4, 16, 64, 256)},
            "half as bright": train[200:456] // 2, "noise": np.random.default_rng(0).integers(0, 256, (256, 28, 28, 1), "uint8"),
        }.items():
            runner = Runner(convert(deployable(models[f"small {seed}"]), "int8", pictures))
            found["calibration"].append({"images": kind, "seed": seed, "test_accuracy": accuracy(runner.answers(images), labels)})
    found["exactness"] = exactness(files["small 0 int8"], images)
    print(found["exactness"], flush=True)
    found["browser"] = in_browser(files["small 0 int8"], images, labels)
    print(found["browser"], flush=True)
    found["sparse_microseconds"] = sparse_layer(page_weights()[4])
    print(found["sparse_microseconds"], flush=True)
    found["article"] = article_cut(images, labels)
    seconds = round(time.process_time() - started, 1)
    about = {"about": "the networks outside Keras", **provenance(), "cpu_seconds": seconds, **found}
    with replacing(HERE / "edge_deploy.json") as beside:
        beside.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    kept = {f"small_{number}": weight for number, weight in enumerate(models["small 0"].get_weights())}
    write_arrays(HERE / "edge_deploy.npz", **kept)
    print(f"{seconds} CPU seconds")


if __name__ == "__main__":
    main()
