"""All metrics: importing this module registers every one of them."""

from __future__ import annotations

from mlp.class_metrics import Accuracy as Accuracy
from mlp.class_metrics import LabelAccuracy as LabelAccuracy
from mlp.class_metrics import TopKAccuracy as TopKAccuracy
from mlp.class_metrics import confusion_matrix as confusion_matrix
from mlp.metric import AbstractMetric as AbstractMetric
from mlp.metric import Direction as Direction
from mlp.metric import Loss as Loss
from mlp.metric import metrics as metrics
from mlp.value_metrics import R2 as R2
