"""Processor, BLAS and versions: besides configuration and data, these determine the last bits of a training."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path


def machine() -> dict[str, str]:
    """Return descriptions of the processor (`cpu`) and the BLAS (`blas`) of this machine.

    `cpu` is the model and the architecture. `blas` is NumPy's library with its version and, if the library reports
    them, the kernels that it chose for this processor.
    """
    return {"cpu": f"{_cpu_model()} ({platform.machine()})", "blas": _blas()}


def versions() -> dict[str, str]:
    """Return the versions of Python, NumPy and this program."""
    return {"python": platform.python_version(), "numpy": version("numpy"), "mlp-studies": version("mlp-studies")}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []  # not Linux
    models = [value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name"]
    return models[0] if models else platform.processor() or "unknown"


def _blas() -> str:
    return next(_loaded_blas(), None) or _build_time_blas()


def _loaded_blas() -> Iterator[str]:
    """Yield the loaded BLAS libraries, that of NumPy first, because SciPy can load another one."""
    import numpy as np
    from threadpoolctl import threadpool_info

    numpy_libs = Path(np.__file__).parent.with_name("numpy.libs")
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    for pool in sorted(pools, key=lambda pool: Path(pool["filepath"]).parent != numpy_libs):
        description = (pool["internal_api"], pool.get("version"), pool.get("architecture"))
        yield " ".join(str(item) for item in description if item)


def _build_time_blas() -> str:
    """Return the BLAS that NumPy was built with; threadpoolctl does not find all of them, such as Accelerate."""
    import numpy as np

    built = np.show_config(mode="dicts") or {}
    blas = built.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
