"""The network as scikit-learn estimators.

Behind `fit` and `predict` are the same configuration, training and model as everywhere else in this package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state, check_X_y, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from mlp.arrays import Array
from mlp.config import TrainConfig
from mlp.conversion import column_names, frame_schema, is_table
from mlp.data import Dataset, Split
from mlp.errors import ConfigError
from mlp.estimator_config import plain_parameters, to_config
from mlp.losses import Task
from mlp.model import Model
from mlp.network import Network
from mlp.training import Training, train


@dataclass(eq=False, repr=False)
class AbstractMLP(BaseEstimator, ABC):  # type: ignore[misc] # scikit-learn has no types
    """The common base of the classifier and the regressor.

    A parameter has the same meaning as the field of that name in `mlp.config`, and is checked by `fit`. A part
    (activation, initializer, normalization, loss, optimizer, schedule) is a name, a table with a name such as
    `{"name": "leaky_relu", "slope": 0.1}`, or the part itself.

    A frame with columns of texts, booleans, categories or dates is a table: its columns are encoded, and may have
    missing cells. Any other X must contain numbers, which are not scaled: put a `StandardScaler` in front. The
    arithmetic has the type of X if that is float32 or
    float64, otherwise float64. An example with a weight of 0 is left out. Other weights count relative to their batch:
    if a batch contains all examples, a weight of 2 is the same as a repeated row.

    Args:
        hidden: the widths of the hidden layers, or a table with depth, width and taper.
        activation: the activation of all hidden layers, or a list with one per hidden layer.
        initializer: the initializer of the weights.
        normalization: the normalization of all hidden layers.
        dropout: the fraction of hidden units that is dropped at each step.
        loss: the loss; None for cross-entropy of classes and labels, and for squared error of values.
        optimizer: the optimizer; a table or a part can set its other fields.
        learning_rate: the learning rate; None for the optimizer's own.
        weight_decay: the decoupled weight decay; None for the optimizer's own.
        l2: the factor of the L2 penalty, which is added to the gradient; None for the optimizer's own.
        schedule: the schedule of the learning rate over the epochs.
        batch_size: the number of examples per step, or `full` for all examples.
        epochs: the largest number of passes over the data.
        early_stopping: whether to stop when the validation score no longer improves and to keep the weights of the best
            epoch; or a table with patience, metric and min_delta.
        validation: the number or fraction of examples that is held out for validation. None for a tenth of them if
            early stopping or the schedule needs validation, otherwise for none.
        random_state: an integer gives the same result at each call; None or a `RandomState` draws a new seed.

    Attributes:
        model_: the fitted `mlp.Model`. `mlp.save_model` saves it without pickle, and `model_.manifest.config` is the
            configuration of the training.
        history_: one value per epoch, by metric key: `train/loss`, `validation/accuracy`, ... `partial_fit` starts a
            new history when the validation part appears or disappears.
        n_iter_: the number of epochs run.
        n_features_in_: the number of features of X.
        feature_names_in_: the names of the features; only if X is a frame with string columns.
        schema_: the columns of X if it is a table, otherwise None.
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
            X: inputs, shape (n, d).
            y: targets, shape (n,); or shape (n, m) for m values, or for m labels that are 0 or 1.
            sample_weight: the weight of each example in the loss, shape (n,), at least 0; None for equal weights.

        Returns:
            The estimator itself.

        Raises:
            ConfigError: if a parameter is not valid.
            DivergedError: if the training diverges.
            ValueError: if the data is not valid.
        """
        self.schema_ = frame_schema(X, column_names(X)) if is_table(X) else None
        x, y, weights = self._check_data(X, y, sample_weight, is_first=True)
        self._set_targets(y)
        config, dataset, split = self._prepare(x, y, weights)
        self._set_fitted(train(config, split), dataset)
        return self

    @property
    def network_(self) -> Network:
        """A new network with the fitted parameters."""
        return self.model_.build_network()

    @property
    def loss_curve_(self) -> list[float]:
        """The training loss of each epoch."""
        return self.history_["train/loss"]

    @abstractmethod
    def _set_targets(self, y: Array) -> None:
        """Set the task and the attributes that describe the targets, given the first targets."""

    @abstractmethod
    def _encode(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """Return targets in the form that `mlp.data.Examples` has; values in the type of the network."""

    @property
    @abstractmethod
    def _names(self) -> list[str]:
        """The names of the classes, labels or values."""

    def _check_data(self, x: Any, y: Any, sample_weight: Any, *, is_first: bool) -> tuple[Array, Array, Array | None]:
        """Return valid inputs, targets and weights, without the rows of weight 0."""
        dtype = [np.float64, np.float32] if is_first else self.model_.manifest.config.dtype
        if self.schema_ is None:
            x, y = validate_data(self, x, y, dtype=dtype, multi_output=True, reset=is_first)
        else:
            if is_first:
                self.n_features_in_, self.feature_names_in_ = len(self.schema_), np.array(self.schema_.names, object)
            x = self.schema_.read(x)
            _, y = check_X_y(np.zeros((len(x), 1)), y, multi_output=True)
        y = y.toarray() if hasattr(y, "toarray") else y
        if sample_weight is None:
            return x, y, None
        weights = _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        counts = weights > 0  # the others must not change the split, the batches or the classes
        return (x, y, weights) if counts.all() else (x[counts], y[counts], weights[counts])

    def _prepare(self, x: Array, y: Array, weights: Array | None) -> tuple[TrainConfig, Dataset, Split]:
        """Return the configuration of a training, its data set and its split."""
        try:
            config = to_config(self._settings(), self._task, dtype=x.dtype.name, seed=self._seed())
            targets = self._encode(y, x.dtype)
            names, columns = tuple(self._names), self.schema_.names if self.schema_ else ()
            arrays = x, targets, x[:0], targets[:0]
            dataset = Dataset("X", *arrays, names, 1.0, "", (), columns, self.schema_, weights=weights)
            if self.schema_ is not None:
                config = replace(config, data=replace(config.data, scale="auto"))
            return config, dataset, dataset.split(config.data, config.seed)
        except ConfigError as error:
            path = error.path.removeprefix("network.").removeprefix("data.")
            raise ConfigError(error.problem, path="random_state" if path == "seed" else path) from None

    def _settings(self) -> dict[str, Any]:
        """Return the parameters that decide the configuration, as plain values."""
        settings = plain_parameters(self.get_params(deep=False))
        settings.pop("random_state", None)
        return settings

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _fit_epoch(self, x: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        """Train for one epoch over some examples, starting from the current state if there is one."""
        is_first = not hasattr(self, "_state")
        if is_first:
            self.schema_ = frame_schema(x, column_names(x)) if is_table(x) else None
        x, y, weights = self._check_data(x, y, sample_weight, is_first=is_first)
        if is_first:
            self._set_targets(y if classes is None else np.asarray(classes))
        config, dataset, split = self._prepare(x, y, weights)
        if config.early_stopping:
            problem = "cannot be used with partial_fit, which runs one epoch per call. Use fit."
            raise ConfigError(problem, path="early_stopping")
        if is_first:
            training = Training(config, split)
        else:
            before = self._state
            # The training continues past the configured epochs, from the parameters that were kept. There is no early
            # stopping here, so it has no best epoch to remember.
            config = replace(config, epochs=max(config.epochs, before.epoch + 1))
            has_other_metrics = (split.validation is None) != ("validation/loss" not in before.history)
            state = replace(
                before,
                config=config.to_mapping(),
                status="running",
                best_theta=before.theta[:0],
                history={} if has_other_metrics else before.history,
            )
            # Inputs and targets are scaled as in the first call: the parameters were learnt with that scale.
            manifest = self.model_.manifest
            split = split.encoded_by(manifest.encoding)
            training = Training.resume(state, split, target_scaling=manifest.target_scaling)
            # `resume` counts the steps of the epochs before from this split, but each may have had another size.
            training.steps = self._steps
        training.run(1)
        self._set_fitted(training, dataset)
        return self

    def _set_fitted(self, training: Training, dataset: Dataset) -> None:
        """Set the attributes that `fit` and `partial_fit` leave behind."""
        self._state, self._steps = training.state(), training.steps
        self.model_ = Model.of(training, dataset)
        self.history_ = self._state.history
        self.n_iter_ = training.epoch

    def _model_and_inputs(self, x: Any) -> tuple[Model, Array]:
        """Return the fitted model and the inputs, checked and in its type."""
        check_is_fitted(self)
        if self.schema_ is not None:
            return self.model_, x
        return self.model_, validate_data(self, x, dtype=self.model_.manifest.config.dtype, reset=False)


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, AbstractMLP):  # type: ignore[misc]
    """A multi-layer perceptron that predicts one of several classes, or several labels at once.

    Takes the parameters of `AbstractMLP` and `class_weights`.

    Args:
        class_weights: the weight of each class in the loss: `balanced` to give all classes the same total weight, a
            list with one number per class in the order of `classes_`, or a mapping from classes to numbers (1 for
            classes that are not in it).

    Attributes:
        classes_: the sorted classes, shape (k,); the indices of the labels if y has shape (n, m).

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
        """Train for one more epoch, over these examples.

        Args:
            X: inputs, shape (n, d).
            y: targets, shape (n,); or shape (n, m) for m labels that are 0 or 1.
            classes: all classes that can occur in any call. Required in the first call, unless y contains labels.
            sample_weight: the weight of each example in the loss, shape (n,), at least 0; None for equal weights.

        Returns:
            The estimator itself.

        Raises:
            ConfigError: if a parameter is not valid.
            DivergedError: if the training diverges; the estimator keeps its state from before.
            ValueError: if the data is not valid.
        """
        if hasattr(self, "_state"):
            if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(f"classes must be the same as in the first call, {self.classes_}, got {classes}.")
        elif classes is None and type_of_target(y) != "multilabel-indicator":
            raise ValueError("classes must be given in the first call of partial_fit.")
        return self._fit_epoch(X, y, sample_weight, classes)

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Return the most probable class of each example, shape (n,), or its labels, 0 or 1 of shape (n, m)."""
        model, x = self._model_and_inputs(X)
        predicted = model.predict(x)
        return self.classes_[predicted] if self._task == "classes" else predicted.astype(np.intp)

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """Return the probability of each class or label, shape (n, k), in the order of `classes_`."""
        model, x = self._model_and_inputs(X)
        return model.predict_proba(x)

    def decision_function(self, X: Any) -> Array:  # noqa: N803
        """Return the raw outputs, shape (n, k); for two classes the second minus the first, shape (n,)."""
        model, x = self._model_and_inputs(X)
        outputs = model.outputs(x)
        if self._task == "labels" or outputs.shape[1] > 2:
            return outputs
        margin: Array = outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]
        return margin

    def _set_targets(self, y: Array) -> None:
        check_classification_targets(y)
        self._task = "labels" if type_of_target(y) == "multilabel-indicator" else "classes"
        self.classes_ = np.arange(y.shape[1]) if self._task == "labels" else np.unique(column_or_1d(y, warn=True))

    def _encode(self, y: Array, dtype: np.dtype[Any]) -> Array:
        if self._task == "labels":
            return y.astype(np.uint8)
        targets: Array = LabelEncoder().fit(self.classes_).transform(column_or_1d(y))
        return targets

    @property
    def _names(self) -> list[str]:
        return [str(name) for name in self.classes_]

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        weights = settings.get("class_weights")
        if isinstance(weights, Mapping):
            unknown = [name for name in weights if name not in self.classes_]
            if unknown:
                problem = f"{unknown[0]!r} is not one of the classes: {', '.join(self._names)}."
                raise ConfigError(problem, path="class_weights")
            settings["class_weights"] = [weights.get(name, 1.0) for name in self.classes_]
        return settings


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, AbstractMLP):  # type: ignore[misc]
    """A multi-layer perceptron that predicts one value, or several values at once.

    Takes the parameters of `AbstractMLP`. The network learns targets of mean 0 and standard deviation 1, as they are in
    the training part, or in the first call of `partial_fit`; predictions are in the targets' own units.

    Attributes:
        n_outputs_: the number of values per example.

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
        """Train for one more epoch, over these examples.

        Args:
            X: inputs, shape (n, d).
            y: targets, shape (n,) or (n, m).
            sample_weight: the weight of each example in the loss, shape (n,), at least 0; None for equal weights.

        Returns:
            The estimator itself.

        Raises:
            ConfigError: if a parameter is not valid.
            DivergedError: if the training diverges; the estimator keeps its state from before.
            ValueError: if the data is not valid.
        """
        return self._fit_epoch(X, y, sample_weight)

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Return the predicted values, shape (n,) or (n, m) like the y that was fitted."""
        model, x = self._model_and_inputs(X)
        values = model.predict(x).astype(model.manifest.config.dtype, copy=False)
        return values[:, 0] if self._is_flat else values

    def _set_targets(self, y: Array) -> None:
        self._task = "values"
        self._is_flat = y.ndim == 1
        self.n_outputs_ = 1 if self._is_flat else y.shape[1]

    def _encode(self, y: Array, dtype: np.dtype[Any]) -> Array:
        values: Array = np.asarray(y, dtype)
        return values[:, None] if y.ndim == 1 else values

    @property
    def _names(self) -> list[str]:
        return [f"y{i}" for i in range(self.n_outputs_)]
