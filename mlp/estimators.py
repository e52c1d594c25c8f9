"""The network as scikit-learn estimators: the same configuration, training and model behind `fit` and `predict`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.data import Examples, Split
from mlp.errors import ConfigError
from mlp.losses import Task
from mlp.model import Model
from mlp.network import Network
from mlp.paths import merge
from mlp.records import AbstractRecord, encode
from mlp.training import Training, train

SECTIONS = {
    "network": ("hidden", "activation", "initializer", "normalization", "dropout"),
    "optimizer": ("learning_rate", "weight_decay", "l2"),
    "data": ("validation",),
}
# Where in a `TrainConfig` a parameter of an estimator has its place, unless at the top.
PATHS = {name: f"{section}.{name}" for section, names in SECTIONS.items() for name in names}
USUAL_LOSS: dict[Task, str] = {
    "classes": "softmax_cross_entropy",
    "labels": "binary_cross_entropy",
    "values": "mean_squared_error",
}
USUAL_VALIDATION = 0.1


@dataclass(eq=False, repr=False)
class AbstractMLP(BaseEstimator, ABC):  # type: ignore[misc] # scikit-learn has no types
    """What the classifier and the regressor share.

    A parameter means what the field of that name means in `mlp.config`, and is checked when the estimator is fitted.
    A part (activation, initializer, normalization, loss, optimizer, schedule) is a name, a table with a name such as
    `{"name": "leaky_relu", "slope": 0.1}`, or the object itself.

    Inputs are taken as they are: put a `StandardScaler` in front. The arithmetic is in the type of X, float32 or
    float64; any other is turned into float64. The rows of a weight of 0 count as absent. Other weights count within
    their batch, so that one of 2 is the same as a repeated row where a batch holds all examples.

    Args:
        hidden: the widths of the hidden layers, or a table with depth, width and taper.
        activation: of every hidden layer, or a list of one for each.
        initializer: of the weights.
        normalization: of every hidden layer.
        dropout: the share of hidden units dropped at each step.
        loss: None for cross-entropy of classes and labels, or squared error of values.
        optimizer: which rule, with its own fields if it is a table or an object.
        learning_rate: None for the optimizer's own, as for the two below.
        weight_decay: decoupled.
        l2: the penalty, added to the gradient.
        schedule: of the learning rate, over the epochs.
        batch_size: examples a step, or `full` for all of them.
        epochs: passes over the data, at most.
        early_stopping: whether to stop when validation no longer gets better, or a table with patience, metric and
            min_delta; the best epoch's weights are kept.
        validation: how many examples are held out to be judged by, a number or a fraction; None for a tenth where
            early stopping or the schedule watches them, else none.
        random_state: an integer for the same result at each call.

    Attributes:
        model_: the fitted model, which `mlp.model_io.save_model` writes without pickle; its
            `manifest.config` is the configuration of the training.
        history_: a value an epoch, by metric key: `train/loss`, `validation/accuracy`, ...; it begins anew where
            `partial_fit` first has, or no longer has, a validation part.
        n_iter_: epochs run.
        n_features_in_, feature_names_in_: of X.
    """

    hidden: Any = (128,)
    _: KW_ONLY
    activation: Any = "relu"
    initializer: Any = "he_normal"
    normalization: Any = "none"
    dropout: float = 0.0
    loss: Any = None
    optimizer: Any = "adam"
    learning_rate: float | None = None
    weight_decay: float | None = None
    l2: float | None = None
    schedule: Any = "constant"
    batch_size: int | str = 128
    epochs: int = 200
    early_stopping: Any = False
    validation: float | None = None
    random_state: Any = None

    _task: Task = field(init=False)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Train a new network.

        Args:
            X: shape (n, d).
            y: shape (n,); or (n, m) for m values, or m labels that are 0 or 1.
            sample_weight: how much each example counts in the loss, shape (n,), at least 0; None for all the same.

        Raises:
            ConfigError: when a parameter is not valid.
            DivergedError: when the training diverges.
            ValueError: when the data are not valid.
        """
        x, y, weights = self._check(X, y, sample_weight, is_first=True)
        self._meet(y)
        self._keep(train(*self._prepare(x, y, weights)))
        return self

    @property
    def network_(self) -> Network:
        """A network with the fitted parameters, made anew at each access."""
        return self.model_.build_network()

    @property
    def loss_curve_(self) -> list[float]:
        """The training loss of each epoch."""
        return self.history_["train/loss"]

    @abstractmethod
    def _meet(self, y: Array) -> None:
        """Learn from the first targets what there is to predict."""

    @abstractmethod
    def _encode(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """Return targets as `mlp.data.Examples` has them; values in the type of the network."""

    @property
    @abstractmethod
    def _names(self) -> list[str]:
        """What the targets are called, one for each class, label or value."""

    def _check(self, x: Any, y: Any, sample_weight: Any, *, is_first: bool) -> tuple[Array, Array, Array | None]:
        """Return valid inputs, targets and weights; rows of weight 0 are left out."""
        dtype = [np.float64, np.float32] if is_first else self.model_.manifest.config.dtype
        x, y = validate_data(self, x, y, dtype=dtype, multi_output=True, reset=is_first)
        y = y.toarray() if hasattr(y, "toarray") else y
        if sample_weight is None:
            return x, y, None
        weights = _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        counts = weights > 0
        return (x, y, weights) if counts.all() else (x[counts], y[counts], weights[counts])

    def _prepare(self, x: Array, y: Array, weights: Array | None) -> tuple[TrainConfig, Split]:
        """Return the configuration and the data of a training."""
        try:
            config = self._config(x.dtype.name)
            targets = self._encode(y, x.dtype)
            rows, held_out = config.data.held_out(targets, config.seed)
            to_learn = Examples(x, targets, rows, weights=weights)
            validation = replace(to_learn, rows=held_out) if len(held_out) else None
            return config, Split(to_learn, validation, len(self._names), self._task)
        except ConfigError as error:
            path = error.path.removeprefix("network.").removeprefix("data.")
            raise ConfigError(error.problem, path="random_state" if path == "seed" else path) from None

    def _config(self, dtype: str) -> TrainConfig:
        """Return the configuration that the parameters describe."""
        base = {
            "data": {"name": "X", "scale": "none", "balanced": self._task == "classes", "validation": USUAL_VALIDATION},
            "loss": USUAL_LOSS[self._task],
            "dtype": dtype,
            "seed": self._seed(),
        }
        settings = self._settings()
        config = TrainConfig.from_mapping(
            merge(base, {PATHS.get(name, name): value for name, value in settings.items()})
        )
        if "validation" not in settings and not any(key.startswith("validation/") for key in config.watched().values()):
            config = replace(config, data=replace(config.data, validation=0))
        return config

    def _settings(self) -> dict[str, Any]:
        """Return the parameters that say something, as plain values."""
        settings = {name: _plain(value) for name, value in self.get_params(deep=False).items() if value is not None}
        settings.pop("random_state", None)
        if settings.get("early_stopping") in (True, False):
            settings |= {"early_stopping": {} if settings["early_stopping"] else None}
        return settings

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _go_on(self, x: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        """Train for one epoch over some examples, from what has been learnt so far."""
        is_first = not hasattr(self, "_state")
        x, y, weights = self._check(x, y, sample_weight, is_first=is_first)
        if is_first:
            self._meet(y if classes is None else np.asarray(classes))
        config, data = self._prepare(x, y, weights)
        if config.early_stopping:
            raise ConfigError("is not for partial_fit, which runs one epoch at each call.", path="early_stopping")
        if is_first:
            training = Training(config, data)
        else:
            was = self._state
            config = replace(config, epochs=max(config.epochs, was.epoch + 1))
            begins_anew = (data.validation is None) != ("validation/loss" not in was.history)
            state = replace(
                was,
                config=config.to_mapping(),
                status="running",
                best_theta=was.theta[:0],
                history={} if begins_anew else was.history,
            )
            training = Training.resume(state, data)
            training.steps = self._steps  # which are no multiple of epochs where the number of examples changes
        training.run(1)
        self._keep(training)
        return self

    def _keep(self, training: Training) -> None:
        self._state, self._steps = training.state(), training.steps
        self.model_ = Model.of(training, self._names)
        self.history_ = self._state.history
        self.n_iter_ = training.epoch

    def _ready(self, x: Any) -> tuple[Model, Array]:
        """Return the fitted model and valid inputs for it."""
        check_is_fitted(self)
        return self.model_, validate_data(self, x, dtype=self.model_.manifest.config.dtype, reset=False)


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, AbstractMLP):  # type: ignore[misc]
    """A multi-layer perceptron that tells classes apart, or says which of several labels apply.

    Args and attributes are those of `AbstractMLP`, and:

    Args:
        class_weights: how much the examples of each class count in the loss: `balanced` for as much in all as those
            of any other, a number for each class in their order, or a mapping from the class (those not in it count
            1).

    Attributes:
        classes_: the classes in their order; the numbers of the labels where y is a table of them.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> X, y = load_digits(return_X_y=True)
        >>> classifier = MLPClassifier(hidden=[64, 32], learning_rate=3e-3, epochs=20, random_state=0)
        >>> make_pipeline(StandardScaler(), classifier).fit(X[:1000], y[:1000]).score(X[1000:], y[1000:]) > 0.9
        True
    """

    class_weights: Any = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train for one epoch over these examples, going on from what has been learnt so far.

        Args:
            X: shape (n, d).
            y: shape (n,) or (n, m).
            classes: all that there are, those not among y too; must be given to the first call, unless y is a table
                of labels.
            sample_weight: how much each example counts in the loss.

        Raises:
            ConfigError: when a parameter is not valid.
            DivergedError: when the training diverges.
            ValueError: when the data are not valid.
        """
        if hasattr(self, "_state"):
            if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(f"classes must be those of the first call, {self.classes_}, got {classes}.")
        elif classes is None and type_of_target(y) != "multilabel-indicator":
            raise ValueError("classes must be given to the first call of partial_fit.")
        return self._go_on(X, y, sample_weight, classes)

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Return the likeliest class of each example, shape (n,), or its labels, 0 or 1 of shape (n, m)."""
        model, x = self._ready(X)
        decided = model.predict(x)
        return self.classes_[decided] if self._task == "classes" else decided.astype(np.intp)

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """Return the probability of each class or label, in the order of `classes_`, shape (n, k)."""
        model, x = self._ready(X)
        return model.predict_proba(x)

    def decision_function(self, X: Any) -> Array:  # noqa: N803
        """Return the raw outputs, shape (n, k); of two classes how much the second is ahead, shape (n,)."""
        model, x = self._ready(X)
        outputs = model.outputs(x)
        if self._task == "labels" or outputs.shape[1] > 2:
            return outputs
        ahead: Array = outputs[:, -1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]
        return ahead

    def _meet(self, y: Array) -> None:
        check_classification_targets(y)
        self._task = "labels" if type_of_target(y) == "multilabel-indicator" else "classes"
        is_table = self._task == "labels"
        self.classes_ = np.arange(y.shape[1]) if is_table else np.unique(column_or_1d(y, warn=True))

    def _encode(self, y: Array, dtype: np.dtype[Any]) -> Array:
        if self._task == "labels":
            return y
        targets: Array = LabelEncoder().fit(self.classes_).transform(column_or_1d(y))
        return targets

    @property
    def _names(self) -> list[str]:
        return [str(name) for name in self.classes_]

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        by_class = settings.get("class_weights")
        if isinstance(by_class, Mapping):
            unknown = [name for name in by_class if name not in self.classes_]
            if unknown:
                problem = f"{unknown[0]!r} is none of the classes {', '.join(self._names)}."
                raise ConfigError(problem, path="class_weights")
            settings["class_weights"] = [by_class.get(name, 1.0) for name in self.classes_]
        return settings


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, AbstractMLP):  # type: ignore[misc]
    """A multi-layer perceptron that predicts one value or several.

    Args and attributes are those of `AbstractMLP`. Values far from 0 take long to learn: put the estimator into a
    `TransformedTargetRegressor` with a `StandardScaler`.

    Example:
        >>> import numpy as np
        >>> X = np.linspace(-1, 1, 200)[:, None]
        >>> y = np.sin(3 * X[:, 0])
        >>> regressor = MLPRegressor(hidden=[32], activation="tanh", learning_rate=0.02, batch_size=20, random_state=0)
        >>> regressor.fit(X, y).score(X, y) > 0.99
        True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train for one epoch over these examples, going on from what has been learnt so far; arguments as in `fit`."""
        return self._go_on(X, y, sample_weight)

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Return the values of each example, in the shape of y."""
        model, x = self._ready(X)
        values = model.predict(x)
        return values[:, 0] if self._is_flat else values

    def _meet(self, y: Array) -> None:
        self._task = "values"
        self._is_flat = y.ndim == 1
        self.n_outputs_ = 1 if self._is_flat else y.shape[1]

    def _encode(self, y: Array, dtype: np.dtype[Any]) -> Array:
        values: Array = np.asarray(y, dtype)
        return values[:, None] if y.ndim == 1 else values

    @property
    def _names(self) -> list[str]:
        return [f"y{i}" for i in range(self.n_outputs_)]


def _plain(value: Any) -> Any:
    """Return a parameter as TOML would give it: parts as tables, NumPy's numbers and arrays as Python's."""
    if isinstance(value, AbstractRecord):
        return encode(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {(name.item() if isinstance(name, np.generic) else name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
