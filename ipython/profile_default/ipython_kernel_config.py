"""Kernel settings with which every notebook gives the same outputs on another machine.

The one place for them: the tests, `make run`, `make lab` and Binder all find it through IPYTHONDIR.
Each can be overridden by setting the same variable in the environment.
"""
import os
import warnings

# oneDNN and OpenBLAS pick their kernels by processor, which changes the last bits of every sum, and training
# amplifies bits. With the instructions that all x86-64 machines with AVX2 share, they pick the same everywhere.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")
# TF_DETERMINISTIC_OPS is not among them: it keeps a second copy of the training images (190 MB for MNIST as
# float32), and without it ten epochs of training moved a loss in its fifth digit, which no claim depends on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# TensorFlow's C++ log goes to the terminal, not into the notebook: it names processors and times.
settings = get_config()  # noqa: F821 (IPython provides it)
settings.IPKernelApp.capture_fd_output = False
settings.IPKernelApp.log_level = "ERROR"

# A warning keeps its words and loses the path of the file that gave it, which differs on every machine.
warnings.formatwarning = lambda message, category, *_, **__: f"{category.__name__}: {message}\n"
