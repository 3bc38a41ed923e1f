"""One network on four backends of Keras, and in two processes that train together: experiments/frameworks.json.

    python experiments/frameworks.py            # everything
    python experiments/frameworks.py failure    # one section anew

It needs the dependency group `backends` (JAX and PyTorch) beside the book's environment. Every measurement is a
process of its own, since a backend is chosen once for all when Keras is imported; each is kept to one processor and
one thread, has a time limit, and is killed with all that it has started. All takes about 20 minutes of processor time.
"""
import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from imagebook.records import replacing, write_arrays

HERE = Path(__file__).parent
RECORD = Path(__file__).with_suffix(".json")
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "CUDA_VISIBLE_DEVICES": "",
}


def start(*arguments, **environment):
    """Start Python as a process with a group of its own, so that nothing of it can be left over."""
    words = tempfile.TemporaryFile()  # a pipe that nobody reads would stop a talkative process
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], env={**os.environ, **ENVIRONMENT, **environment},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words, process_group=0)
    process.words = words
    return process


def finish(process, seconds):
    """Wait so long for a process, then kill it with its group; return its exit code, if it had ended, and its last words."""
    try:
        code = process.wait(timeout=max(seconds, 0.1))
    except subprocess.TimeoutExpired:
        code = None
    stop(process)
    process.words.seek(0)
    return code, process.words.read().decode(errors="replace")


def stop(process):
    """Kill a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    process.wait()


def read(path):
    """Return what a process has written, as a dictionary of arrays; an empty one if it has not."""
    if not Path(path).exists():
        return {}
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def on_backend(backend, job, timeout=300, **settings):
    """Do a job of frameworks_backend.py on a backend; return its arrays, or the error's last line."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/result.npz"
        extra = settings.pop("environment", {})
        begun = time.perf_counter()
        process = start(HERE / "frameworks_backend.py", json.dumps({"job": job, **settings}), path,
                        KERAS_BACKEND=backend, **extra)
        code, words = finish(process, timeout)
        return {**read(path), "code": code, "wall": time.perf_counter() - begun, "words": words if code else ""}


def free_ports(count):
    """Return ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def together(jobs, workers=2, timeout=120, grace=None, tries=1):
    """Let so many workers do the jobs together; return for each its arrays, exit code and last words.

    grace: seconds that the others are given once one of them has died; by default the whole timeout. tries: how often
    to begin when the workers fail and none was killed: a port may be taken, or a busy machine miss a heartbeat.
    """
    for number in range(tries):
        results = launch(jobs, workers, timeout, grace)
        codes = [result["code"] for result in results]
        if not any(codes) or any(code is None or code < 0 for code in codes):
            break
    return results


def launch(jobs, workers, timeout, grace):
    """Start the workers once, wait for them, and see to it that none is left."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as left:
        hosts, processes = [f"127.0.0.1:{port}" for port in free_ports(workers)], []
        for index in range(workers):
            config = json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}})
            processes.append(start(HERE / "frameworks_worker.py", json.dumps(jobs), f"{folder}/{index}.npz",
                                   KERAS_BACKEND="tensorflow", TF_CONFIG=config))
            left.callback(stop, processes[-1])  # also when this process is interrupted
        deadline, ends = time.monotonic() + timeout, [None] * workers
        while None in ends and time.monotonic() < deadline:
            for index, process in enumerate(processes):
                if ends[index] is None and process.poll() is not None:
                    ends[index] = time.time()
                    if process.returncode and grace is not None:
                        deadline = min(deadline, time.monotonic() + grace)
            time.sleep(0.05)
        results = []
        for index, process in enumerate(processes):
            code, words = finish(process, 0)
            results.append({**read(f"{folder}/{index}.npz"), "code": code, "ended": ends[index], "words": words})
        return results


def alone(jobs, timeout=120):
    """Do the jobs in one process."""
    with tempfile.TemporaryDirectory() as folder:
        process = start(HERE / "frameworks_worker.py", json.dumps(jobs), f"{folder}/0.npz", KERAS_BACKEND="tensorflow")
        code, words = finish(process, timeout)
        return {**read(f"{folder}/0.npz"), "code": code, "words": words if code else ""}


def distance(one, other):
    """Return the length of the difference of two vectors, as a share of the second one's length."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def sound(result):
    """Return a result, or raise RuntimeError with the last words of the process that failed."""
    if result["code"] != 0:
        raise RuntimeError(next((str(result[name]) for name in result if name.endswith("_message")), result["words"][-3000:]))
    return result


def agreement():
    """Compare logits, losses and gradients on 128 images with those of float64, and all layers' outputs."""
    found = {}
    for network in ("small", "article"):
        exact = sound(on_backend("tensorflow", "agree", network=network, dtype="float64"))
        names = sorted(name for name in exact if name.startswith("layer_"))
        found[network] = {"largest logit": float(abs(exact[names[-1]]).max()), "loss": float(exact["loss"])}
        for backend in ("tensorflow", "jax", "torch", "numpy"):
            here = sound(on_backend(backend, "agree", network=network))
            found[network][backend] = {
                "layers": [float(abs(here[name] - exact[name]).max()) for name in names],
                "loss": float(abs(here["loss"] - exact["loss"])),
                "gradient": distance(here["gradient"], exact["gradient"]) if here["gradient"].size else None,
            }
    return found


def expression():
    """Keep the text of what JAX records of a function."""
    found = sound(on_backend("jax", "expression"))
    return {name: str(found[name]) for name in ("loss", "gradient")}


STEPS = 768  # 8 epochs of 96


def growth():
    """Train the small network on every backend from the same weights on the same batches; compare it on the way."""
    runs = {
        "tensorflow": ("tensorflow", {"seeds": 5}), "jax": ("jax", {"seeds": 5}),
        "torch": ("torch", {"seeds": 5, "mode": "eager"}), "nudged": ("tensorflow", {"seeds": 5, "nudge": True}),
        "again": ("tensorflow", {}), "float64": ("tensorflow", {"dtype": "float64"}),
        "XLA": ("tensorflow", {"mode": "xla"}), "seed": ("tensorflow", {"first_seed": 1}),
    }
    results = {name: sound(on_backend(backend, "train", timeout=600, snapshots=list(range(1, STEPS + 1)), **settings))
               for name, (backend, settings) in runs.items()}
    base = results["tensorflow"]
    found = {"distance": {}, "accuracies": {}, "differ": {}}
    for name, result in results.items():
        found["accuracies"][name] = [float(a) for a in result["accuracies"]]
        if name != "tensorflow":
            found["distance"][name] = [distance(one, other) for one, other in zip(result["weights"], base["weights"])]
            pairs = zip(result["answers"], base["answers"])
            found["differ"][name] = [float(np.mean(one != other)) for one, other in pairs]
    # Before the first sudden step of the nudged training: both networks, to look at what happens in that step.
    nudged = np.array(found["distance"]["nudged"])
    last = next(step for step in range(20, STEPS) if nudged[step] > 1.5 * nudged[step - 1])
    found["leaves after"] = last
    write_arrays(RECORD.with_suffix(".npz"), base=base["weights"][last - 1], nudged=results["nudged"]["weights"][last - 1])
    found["distance"] = {name: [float(f"{value:.3g}") for value in values]
                         for name, values in found["distance"].items() if name != "again"}
    found["again"] = float(max(distance(*pair) for pair in zip(results["again"]["weights"], base["weights"])))
    answers = base["answers"]
    found["differ"]["seeds"] = [float(np.mean(answers[i] != answers[j])) for i in range(5) for j in range(i)]
    return found


def numbers(result, *names):
    return {name: float(result[name]) for name in names if name in result}


KEPT = ("first", "second", "step", "median", "memory_before", "memory", "loaded", "seconds", "jit", "parameters", "wall")


def spent():
    """Return the processor seconds of all processes that were started and have ended."""
    import resource  # not on Windows

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def clocks():
    """Time a step of every backend, compiled and not, in processor seconds."""
    found = []

    def add(backend, job, label, timeout=600, **settings):
        before = spent()
        result = on_backend(backend, job, timeout=timeout, **settings)
        settings.pop("environment", None)
        entry = {"backend": backend, "job": job, "mode": label, **settings, **numbers(result, *KEPT),
                 "cpu_seconds": round(spent() - before, 1)}
        if result["code"] != 0:
            last = [line for line in result["words"].splitlines() if "Error" in line or "exc" in line]
            entry["error"] = last[-1][:300] if last else f"code {result['code']}"
        found.append(entry)
        print(entry, flush=True)

    for network, steps, rounds in (("small", 30, 8), ("article", 4, 5)):
        for backend in ("tensorflow", "jax", "torch"):
            for mode in ("eager", "compiled", "xla"):
                if (backend, mode) in (("jax", "xla"), ("torch", "xla"), ("torch", "compiled")):
                    continue
                add(backend, "clock", mode, network=network, mode=mode, steps=steps, rounds=rounds)
        for backend in ("tensorflow", "jax", "torch", "numpy"):
            add(backend, "clock_inference", "inference", network=network, images=1024 if network == "small" else 128)
    for backend in ("tensorflow", "jax", "torch"):
        add(backend, "clock_fit", "fit", network="small")
    add("tensorflow", "clock_fit", "fit, no XLA", network="small", jit_compile=False)
    for network, sizes in (("small", (16, 64, 256, 1024)), ("article", (16, 32, 64, 256))):
        for size in sizes:
            add("tensorflow", "clock", "compiled", network=network, mode="compiled", batch_size=size,
                steps=max(1, (4000 if network == "small" else 500) // size), rounds=6)
    add("torch", "clock_native", "native")
    with tempfile.TemporaryDirectory() as cache:
        add("torch", "clock_native", "native, compiled", compiled=True,
            environment={"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"})
        add("torch", "clock_native", "native, compiled again", compiled=True,
            environment={"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"})
    with tempfile.TemporaryDirectory() as cache:
        add("torch", "clock", "compiled", network="small", mode="compiled", steps=30, rounds=4,
            environment={"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"})
    with tempfile.TemporaryDirectory() as cache:
        add("torch", "clock_native", "native, no compiler", compiled=True, timeout=120,
            environment={"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1", "CXX": "no-such-compiler", "PATH": cache})
    return found


def shards():
    """Train in two processes and in one with the same batches, and compare the weights."""
    jobs = {
        **{f"equal, {steps}": {"steps": steps} for steps in (1, 5, 20, 100)},
        **{f"unequal, {steps}": {"steps": steps, "shares": [96, 32]} for steps in (1, 20)},
        **{f"mean of means, {steps}": {"steps": steps, "shares": [96, 32], "divide": "own"} for steps in (1, 20)},
        **{f"normalised, {steps}": {"steps": steps, "network": "normalised"} for steps in (1, 20)},
        **{f"synchronized, {steps}": {"steps": steps, "network": "synchronized"} for steps in (1, 20)},
    }
    singles = {}
    for job in jobs.values():
        kind = "normalised" if "network" in job else "small"
        singles[kind, job["steps"]] = {"job": "train", "network": kind, "steps": job["steps"]}
    both = [sound(worker) for worker in together([{"job": "train", **job} for job in jobs.values()], timeout=300)]
    one = sound(alone(list(singles.values()), timeout=300))
    found = {}
    for number, (name, job) in enumerate(jobs.items()):
        kind = "normalised" if "network" in job else "small"
        single = list(singles).index((kind, job["steps"]))
        weights = [worker[f"{number}_weights"] for worker in both]
        found[name] = {"from one process": distance(weights[0], one[f"{single}_weights"]),
                       "between workers": float(abs(weights[0] - weights[1]).max())}
    found["cpu_seconds"] = [float(worker["cpu_seconds"]) for worker in both]
    return found


def low(seconds):
    """Return the tenth part of the steps that was least disturbed: its slowest."""
    return float(np.quantile(np.asarray(seconds)[2:], 0.1))


def pace():
    """Time steps in one process and in two, and the sum over two processes of so many numbers."""
    jobs = [{"job": "train", "network": network, "batch_size": size, "steps": steps}
            for network, steps in (("small", 400), ("article", 40)) for size in (128, 256)]
    both = sound(together([*jobs, {"job": "collective", "rounds": 15}], timeout=400)[0])
    one = sound(alone(jobs, timeout=400))
    found = {"steps": [{**job, "one": low(one[f"{number}_seconds"]), "two": low(both[f"{number}_seconds"])}
                       for number, job in enumerate(jobs)]}
    found["collective"] = {"sizes": both["4_sizes"].tolist(), "right": bool(both["4_right"]),
                           "seconds": [[float(f"{value:.4g}") for value in row] for row in both["4_seconds"]]}
    return found


def last_step(path, index):
    step, when = Path(f"{path}.{index}").read_text().split()
    return int(step), float(when)


def reason(worker):
    """Return what TensorFlow says of the failure, without the lines and folders of the program that met it."""
    message = str(worker.get("0_message", ""))
    return message[max(message.find("Collective ops"), 0):][:400]


def failure(steps=40, every=10, at=25):
    """Kill or stop a worker in the middle of a training, start both anew, and compare with an undisturbed training."""
    with tempfile.TemporaryDirectory() as folder:
        def go(name, timeout=120, **settings):
            job = {"job": "train", "steps": steps, "folder": f"{folder}/{name}", "every": every,
                   "progress": f"{folder}/{name}.progress", **settings}
            began = time.time()
            return together([job], timeout=timeout), began

        whole, _ = go("whole")
        reference = sound(whole[0])["0_weights"]
        found = {"steps": steps, "every": every, "at": at,
                 "saving": [float(f"{value:.3g}") for value in whole[0]["0_saving"]]}
        for name, index, memory in (("worker", 1, True), ("chief", 0, True), ("forgetful", 1, False)):
            broken, _ = go(name, dies=[index, at], memory=memory)
            other = 1 - index
            step, when = last_step(f"{folder}/{name}.progress", other)
            found[name] = {
                "code of the dead": broken[index]["code"], "code of the other": broken[other]["code"],
                "error of the other": str(broken[other].get("0_error", "")),
                "message": reason(broken[other]),
                "step": step, "seconds until it noticed": broken[other]["ended"] - when,
            }
            again, began = go(name, memory=memory)
            result = sound(again[0])
            found[name] |= {
                "resumed at": int(result["0_first"]), "distance": distance(result["0_weights"], reference),
                "largest difference": float(abs(result["0_weights"] - reference).max()),
                "seconds of the second start": again[0]["ended"] - began,
            }
        stopped, _ = go("stopped", timeout=200, stops=[1, at])
        step, when = last_step(f"{folder}/stopped.progress", 0)
        found["stopped"] = {
            "step": step, "code of the other": stopped[0]["code"], "error of the other": str(stopped[0].get("0_error", "")),
            "message": reason(stopped[0]),
            "seconds until it noticed": stopped[0]["ended"] and stopped[0]["ended"] - when, "limit": 200,
        }
        fit = together([{"job": "fit"}], timeout=90, grace=10)[0]
        found["fit"] = {"error": str(fit.get("0_error", "")), "message": str(fit.get("0_message", ""))[:80]}
    return found


SECTIONS = {section.__name__: section for section in (agreement, expression, growth, clocks, shards, pace, failure)}


def provenance(name):
    from imagebook.studies import processor

    packages = {"keras": "keras", "tensorflow": "tensorflow_cpu", "jax": "jax", "torch": "torch", "numpy": "numpy"}
    if platform.system() != "Linux":
        packages["tensorflow"] = "tensorflow"
    return {"command": f"python experiments/frameworks.py {name}",
            "versions": {name: version(package) for name, package in packages.items()},
            "python": platform.python_version(), "processor": processor()}


def rounded(value):
    """Return the same, numbers to four digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(names):
    for name in names or SECTIONS:
        before = spent()
        result = rounded(SECTIONS[name]())
        seconds = round(spent() - before, 1)
        record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {"about": __doc__.splitlines()[0]}
        record[name] = {"made": provenance(name), "cpu_seconds": seconds, "result": result}
        with replacing(RECORD) as beside:
            beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(name, seconds, "CPU seconds", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
