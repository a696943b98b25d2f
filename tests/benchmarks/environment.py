"""The environment in which tools are compared: every library as its makers ship it, but for the threads.

A variable that holds one library to older instructions, as people set it to have the same last digits on
processors of several generations, would handicap the tools that use this library and no others. Such
variables are left out, and the first line of a table names them.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

#: What holds OpenBLAS, NumPy, MKL, PyTorch, oneDNN and XLA to kernels that they would not choose.
HOLDING_BACK = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "XLA_FLAGS",
)
AS_SET = "GRADLAB_BENCHMARK_AS_SET"
_ASK = "import numpy, threadpoolctl as t; print(*{p['architecture'] for p in t.threadpool_info()})"


def environment(threads: int | None) -> dict[str, str]:
    """This process's environment with so many threads for linear algebra, and nothing that holds back.

    None leaves to each tool how many it takes, as on the machine of a user who has set nothing.

    With `AS_SET` in it, for those who ask what holding back costs, it is as it is.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _left_out()}
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    if threads is None:
        return {name: value for name, value in kept.items() if name not in names}
    return {**kept, **dict.fromkeys(names, str(threads)), "JAX_PLATFORMS": "cpu"}


def machine() -> str:
    """The processor, the kernels that NumPy's OpenBLAS chooses on it, and what was left out to let it."""
    told = subprocess.run(
        [sys.executable, "-c", _ASK], env=environment(1), text=True, stdout=subprocess.PIPE, check=True
    )
    left_out = [f"{name}={os.environ[name]}" for name in _left_out() if name in os.environ]
    text = f"{_processor()}; NumPy's matrix products by OpenBLAS's kernels for {told.stdout.strip()}"
    return f"{text}; left out of the environment: {', '.join(left_out) or 'nothing'}"


def _left_out() -> tuple[str, ...]:
    return () if os.environ.get(AS_SET) else HOLDING_BACK


def _processor() -> str:
    """The processor's name, and where Linux tells it, family and model: names of virtual ones say little."""
    facts: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor() or platform.machine()
    family, model = facts.get("cpu family", "?"), facts.get("model", "?")
    return f"{facts.get('model name', platform.machine())} (family {family}, model {model})"
