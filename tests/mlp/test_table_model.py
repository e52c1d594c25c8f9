"""Models of tables: every form of raw rows, in any process, gives the bits of the training session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlp import ConfigError, DataConfig, Dataset, Model, TrainConfig, load_model, save_model, train
from tests.mlp_data import NUMPY_ONLY


def table(n: int = 120) -> pd.DataFrame:
    """Return a frame of numbers, texts, codes, booleans and dates, each with missing cells."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "income": rng.lognormal(10, 1, n).round(2),
            "rooms": rng.integers(1, 9, n).astype(float),
            "town": rng.choice(["Köln", "None", "007", "7"], n),
            "garden": pd.array(rng.choice([True, False], n), "boolean"),
            "sold": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
        }
    )
    for at, name in enumerate(frame.columns):
        frame.loc[frame.index[at::11], name] = None
    return frame


def fitted(y: Any, loss: str, **data: Any) -> tuple[Any, Dataset, Model]:
    dataset = Dataset.from_arrays(table(), y, test=(table()[:30], y[:30]))
    mapping = {"epochs": 3, "batch_size": 16, "loss": loss, "network": {"hidden": [8]}, "data": data}
    training = train(TrainConfig.from_mapping(mapping), dataset)
    return training, dataset, Model.of(training, dataset)


CLASSES = np.array(["no", "yes"])[np.arange(120) % 2]
VALUES = 1e6 + 1e5 * np.random.default_rng(1).normal(size=120)


@pytest.mark.parametrize(
    ("scale", "y", "loss"),
    [
        *((scale, CLASSES, "softmax_cross_entropy") for scale in ("auto", "standard", "min_max", "unit", "none")),
        *((scale, VALUES, "mean_squared_error") for scale in ("auto", "quantile")),
    ],
)
def test_a_process_with_numpy_only_predicts_the_bits_of_the_training_session(
    scale: str, y: Any, loss: str, tmp_path: Path
) -> None:
    training, dataset, model = fitted(y, loss, scale=scale)
    outputs = training.outputs(dataset.test(training.data.train.encoding))
    assert model.outputs(table()[:30]).tobytes() == outputs.tobytes()
    expected = model.predict_proba(table()[:30]).tolist()
    rows = json.loads(table()[:30].to_json(orient="records", date_format="iso", double_precision=15))
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    place = save_model(model, tmp_path / "model.json")
    command = [sys.executable, "-c", NUMPY_ONLY, str(place), str(tmp_path / "rows.json")]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert json.loads(found.stdout) == {"rows": expected, "columns": expected}


def test_every_form_of_raw_rows_gives_the_same_bits(tmp_path: Path) -> None:
    _, _, model = fitted(CLASSES, "softmax_cross_entropy")
    loaded = load_model(save_model(model, tmp_path / "model"))
    frame = table()[:20]
    expected = model.predict_proba(frame).tobytes()
    texts = frame.astype(object).where(frame.notna(), "").astype(str)
    for rows in (
        frame,
        frame[frame.columns[::-1]],
        frame.assign(id=1),
        frame.to_dict("list"),
        frame.to_dict("records"),
    ):
        assert loaded.predict_proba(rows).tobytes() == expected
    for rows in (texts, texts.to_numpy(), texts.to_numpy().tolist(), frame.to_numpy()):
        assert loaded.predict_proba(rows).tobytes() == expected


def test_unseen_levels_and_missing_cells_are_predicted() -> None:
    _, _, model = fitted(CLASSES, "softmax_cross_entropy")
    row = {"income": None, "rooms": "", "town": "Atlantis", "garden": None, "sold": "NA"}
    assert np.isfinite(model.predict_proba([row])).all()
    assert model.manifest.schema is not None
    assert model.manifest.schema.count_unseen(model.read_cells([row])) == {"town": 1}
    with pytest.raises(ConfigError, match=r'there is no column "town", which the model needs'):
        model.predict_proba({"income": 1, "rooms": 2, "garden": True, "sold": "2020-01-01"})


def test_a_model_whose_parts_do_not_fit_together_is_refused() -> None:
    _, _, model = fitted(CLASSES, "softmax_cross_entropy")
    mapping = model.manifest.to_mapping()
    assert type(model.manifest).from_mapping(json.loads(json.dumps(mapping))) == model.manifest
    schema = mapping["schema"]
    short = {**schema, "columns": schema["columns"][:-1]}
    scaled = {"centre": [0.0], "factor": [1.0]}
    for change, message in (
        ({"schema": short}, '"encoding": must have the columns of the schema'),
        ({"columns": ["a"] * 5}, '"columns": must be empty'),
        ({"encoding": {"factor": [1.0]}}, '"schema": must be None'),
        ({"target_scaling": scaled}, '"target_scaling": must have a centre for each of 2 values, or none, got 1'),
        (
            {"encoding": {**mapping["encoding"], "columns": mapping["encoding"]["columns"][1:]}},
            '"encoding": must lead to',
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            type(model.manifest).from_mapping({**mapping, **change})
    without = {key: value for key, value in mapping.items() if key != "schema"}
    with pytest.raises(ConfigError, match='"encoding": must have numbers only, because there is no schema'):
        type(model.manifest).from_mapping(without)


def test_a_permuted_target_gives_the_accuracy_of_chance() -> None:
    rng = np.random.default_rng(0)
    frame = table(600)
    y = rng.permutation(np.array(["no", "yes"])[np.arange(600) % 2])
    dataset = Dataset.from_arrays(frame, y)
    config = TrainConfig.from_mapping({"epochs": 5, "batch_size": 32, "data": {"validation": 0.5}})
    assert abs(train(config, dataset).kept_scores()["validation/accuracy"] - 0.5) < 0.12


def test_a_large_number_column_does_not_hide_the_others() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"customer": 1e9 + rng.integers(0, 10**6, 300), "a": rng.normal(size=300)})
    dataset = Dataset.from_arrays(frame, np.where(frame["a"] > 0, "yes", "no"))
    training = train(TrainConfig(epochs=20, batch_size=16, data=DataConfig()), dataset)
    assert training.kept_scores()["validation/accuracy"] > 0.9
