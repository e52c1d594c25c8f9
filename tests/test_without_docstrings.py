"""Under `python -OO`, which removes docstrings, results and error messages are the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
import numpy as np
from mlp import TrainConfig
from mlp.estimators import MLPClassifier, MLPRegressor
from mlp.model_io import load_model
from mlp.plots import plot_first_weights
from mlp.sequential import Dense, Sequential
from studies.models.export import Provenance, read_config
from studies.models.predict import read_inputs
from studies.models.retrain import retrain

x = np.arange(120).reshape(30, 4) % 7
y = x[:, 0] % 2
stack = Sequential([Dense(3, "relu", 4), Dense(2, "softmax")], dropout=0.1)
stack.compile(loss="categorical_crossentropy", metrics=["f1_macro"])
print(stack.fit(x, y, epochs=2, validation_split=0.2, verbose=0).history, stack.summary())
model = load_model(stack.save(sys.argv[1]))
print(model, MLPClassifier([3], epochs=2, random_state=0).fit(x, y), MLPRegressor())

MISTAKES = (
    lambda: Dense(0),
    lambda: Sequential([Dense(3)]),
    lambda: stack.compile(loss="msee"),
    lambda: stack.fit(x, y + 9),
    lambda: MLPClassifier(optimizer={"name": "sgd", "momentun": 1}).fit(x, y),
    lambda: load_model("nowhere.json"),
    lambda: model.predict(x[:, 1:]),
    lambda: plot_first_weights(np.ones((4, 2)), (3, 3)),
    lambda: read_config("nowhere.toml"),
    lambda: Provenance.from_mapping({"studi": "digits"}),
    lambda: read_inputs("nowhere.npy", model),
    lambda: retrain(TrainConfig.from_mapping({"data": {"name": "digts"}})),
)
for mistake in MISTAKES:
    try:
        mistake()
    except ValueError as error:
        print(type(error).__name__, error)
    else:
        print("no error")
"""


@pytest.mark.slow
def test_results_and_errors_do_not_depend_on_docstrings(tmp_path: Path) -> None:
    normal, stripped = (
        subprocess.run(
            [sys.executable, *flags, "-c", PROGRAM, str(tmp_path / f"model{len(flags)}.json")],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for flags in ((), ("-OO",))
    )
    assert stripped == normal
    assert normal.count("ConfigError") == 12
