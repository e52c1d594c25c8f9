"""Modules that nothing may import, because they are in the working directory."""

from __future__ import annotations

from pathlib import Path

# Modules that the program or its libraries import, and that anybody may have beside a study file.
TEMPTING = [
    *("uuid", "json", "random", "types", "token", "queue", "logging", "string", "secrets", "platform", "inspect"),
    *("numpy", "optuna", "mlflow", "pandas", "sqlalchemy", "alembic", "filelock", "click", "uvicorn", "fastapi"),
    *("studies", "mlp", "tests", "sitecustomize", "usercustomize"),
]


def lay_traps(folder: Path) -> Path:
    """Write modules and packages that note their name when they are imported; return the file of the notes."""
    notes = folder / "imported.txt"
    code = f"open({str(notes)!r}, 'a').write(__name__ + '\\n')\n"
    for name in TEMPTING:
        (folder / f"{name}.py").write_text(code)
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "__init__.py").write_text(code)
    return notes
