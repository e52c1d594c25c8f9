"""The objective as a plain callable, for those who drive Optuna themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlp.errors import DivergedError
from mlp.training import EpochMetrics, Training
from studies.data.prepare import open_dataset
from studies.search.spec import StudySpec, read_spec

if TYPE_CHECKING:
    from optuna.trial import Trial


class Objective:
    """Trains the configuration that a trial suggests; for `optuna.Study.optimize`.

    The study's direction is `objective.spec.direction`; its sampler and pruner are whatever you gave it.

    Args:
        spec: the study, or the file that describes it.
        data_dir: where data files are, if not in the cache.
    """

    def __init__(self, spec: StudySpec | Path | str, *, data_dir: Path | None = None) -> None:
        self.spec = spec if isinstance(spec, StudySpec) else read_spec(Path(spec))
        self._dataset = open_dataset(self.spec.base.data, data_dir=data_dir)

    def __call__(self, trial: Trial) -> float:
        """Return the metric of the weights that are kept.

        Raises:
            optuna.TrialPruned: when the pruner gives the trial up, or the training diverges.
        """
        from optuna import TrialPruned

        config = self.spec.space.configure(self.spec.space.suggest(trial))
        training = Training(config, self._dataset.split(config.data, config.seed))
        metric = self.spec.study.metric

        def report(epoch: EpochMetrics) -> None:
            trial.report(epoch.values[metric], epoch.epoch)
            if training.is_running and trial.should_prune():
                raise TrialPruned

        try:
            training.run(on_epoch=report)
        except DivergedError as error:
            raise TrialPruned(str(error)) from error
        return training.kept_scores()[metric]
