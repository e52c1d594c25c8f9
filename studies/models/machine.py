"""What, besides a configuration and its data, decides the last bits of a training: processor, BLAS and versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path


def machine() -> dict[str, str]:
    """Return the processor and the BLAS of this machine, in words.

    `cpu` is the model and the architecture. `blas` is NumPy's library, its version and, where it says, the kernels
    that it has chosen for this processor.
    """
    return {"cpu": f"{_cpu_model()} ({platform.machine()})", "blas": _blas()}


def versions() -> dict[str, str]:
    """Return the versions of what computes here."""
    return {"python": platform.python_version(), "numpy": version("numpy"), "mlp-studies": version("mlp-studies")}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []  # not Linux
    models = [value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name"]
    return models[0] if models else platform.processor() or "unknown"


def _blas() -> str:
    return next(_loaded_blas(), None) or _built_with()


def _loaded_blas() -> Iterator[str]:
    """Yield the BLAS libraries that are loaded, NumPy's own first: SciPy brings another one."""
    import numpy as np
    from threadpoolctl import threadpool_info

    of_numpy = Path(np.__file__).parent.with_name("numpy.libs")
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    for pool in sorted(pools, key=lambda pool: Path(pool["filepath"]).parent != of_numpy):
        words = (pool["internal_api"], pool.get("version"), pool.get("architecture"))
        yield " ".join(str(word) for word in words if word)


def _built_with() -> str:
    """Return the BLAS that NumPy was built with, for those that are not seen at run time, such as Accelerate."""
    import numpy as np

    built = np.show_config(mode="dicts") or {}
    blas = built.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()
