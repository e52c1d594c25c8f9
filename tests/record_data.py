"""A complete study record, as `study.json` contains it, for tests that change a part of it."""

from typing import Any

from studies.records.study_record import StudyRecord

CREATED = 1_700_000_000.25
RECORD: dict[str, Any] = {
    "version": 3,
    "name": "digits",
    "created": CREATED,
    "study": {
        "name": "digits",
        "metric": "validation/accuracy",
        "trials": 4,
        "seed": 0,
        "parallelism": 4,
        "sampler": {"name": "tpe", "startup_trials": 10},
        "pruner": "none",
    },
    "base": {"epochs": 3},
    "space": {},
    "confirm": {},
    "data": {
        "name": "digits",
        "digest": "ff3616c0f69552c411ca15d060836fbf14ad26848e907145698199e8db70ec09",
        "n_train": 1150,
        "n_validation": 288,
        "n_features": 64,
        "task": "classes",
        "n_targets": 10,
        "folder": "",
    },
    "versions": {"python": "3.11.7", "numpy": "2.4.6", "optuna": "5.0.0", "mlp-studies": "0.1.0"},
    "machine": {"cpu": "Z80 (z80)", "blas": "blas 1.0"},
    "fingerprint": {},
    "launches": [],
    "limits": [{"step": 0, "trials": 4, "is_over": False}],
    "enqueued": [],
    "prior": [],
    "is_searched": True,
}


def study_record(study: dict[str, Any] | None = None, **changes: Any) -> StudyRecord:
    """Return the record with some settings of the search and some other entries changed."""
    return StudyRecord.from_mapping(RECORD | {"study": RECORD["study"] | (study or {})} | changes)


IDENTITY = study_record().identity  # of the study "digits"
