"""The objective of a study as a plain callable, for users who drive Optuna themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlp.epochs import EpochMetrics
from mlp.errors import ConfigError, DivergedError
from mlp.folds import open_training
from mlp.memory import DataSize
from studies.data.prepare import open_dataset
from studies.data.task import settle_task
from studies.search.spec import StudySpec, read_spec

if TYPE_CHECKING:
    from optuna.trial import Trial


class Objective:
    """Trains the configuration that a trial suggests; for `optuna.Study.optimize`.

    The sampler and the pruner are those of the Optuna study; the ones in the study file are ignored.

    Example:
        objective = Objective("experiments/digits.toml")
        study = optuna.create_study(direction=objective.spec.direction)
        study.optimize(objective, n_trials=20)

    Args:
        spec: the study, or the path of the study file.
        data_dir: a folder with data files; by default the environment variable `STUDIES_DATA`.

    Raises:
        ConfigError: if the study file is not valid, or its data is missing.
    """

    def __init__(self, spec: StudySpec | Path | str, *, data_dir: Path | str | None = None) -> None:
        self.spec = spec if isinstance(spec, StudySpec) else read_spec(Path(spec))
        if self.spec.study.second_objective is not None:
            raise ConfigError(
                "must not be set for an Objective, which returns the metric only, because Optuna cannot prune with two "
                "objectives. Use run_study.",
                path="study.second_objective",
            )
        beside = () if isinstance(spec, StudySpec) else (Path(spec).parent,)
        self._dataset = open_dataset(settle_task(self.spec.base), data_dir=data_dir, beside=beside)
        self.spec = self.spec.with_metric_for(self._dataset.task)
        split = self._dataset.splits(self.spec.base.data, self.spec.base.seed)[0]
        self.spec = self.spec.with_constraints_on(DataSize.of(split))

    def __call__(self, trial: Trial) -> float:
        """Train one trial, and return the study's metric at the kept epoch.

        Raises:
            ConfigError: if the Optuna study optimises in the other direction.
            optuna.TrialPruned: if the pruner stops the trial, the training diverges, or the configuration violates the
                constraints of the study; then it is not trained.
        """
        from optuna import TrialPruned

        self._check_direction(trial)
        params = self.spec.space.suggest(trial)
        if not self.spec.space.allows(params):
            raise TrialPruned(f"the configuration does not meet {self.spec.space.constraints}.")
        config = self.spec.space.configure(params)
        training = open_training(config, self._dataset.splits(config.data, config.seed))
        metric = self.spec.study.metric

        def report(metrics: EpochMetrics) -> None:
            trial.report(metrics.values[metric], metrics.epoch)
            if training.is_running and trial.should_prune():
                raise TrialPruned

        try:
            training.run(on_epoch=report)
        except DivergedError as error:
            raise TrialPruned(str(error)) from error
        return training.kept_scores()[metric]

    def _check_direction(self, trial: Trial) -> None:
        """Refuse a trial of a study that minimises a metric to be maximised, or the other way round.

        Raises:
            ConfigError: with the call that creates a suitable study.
        """
        study = getattr(trial, "study", None)
        if study is None:  # a FixedTrial, which belongs to no study
            return
        wanted, given = self.spec.direction, [direction.name.lower() for direction in study.directions]
        if given != [wanted]:
            problem = f"{self.spec.study.metric} is {wanted}d, but the Optuna study is created to {' and '.join(given)}"
            raise ConfigError(f'{problem}. Create it with optuna.create_study(direction="{wanted}").')
