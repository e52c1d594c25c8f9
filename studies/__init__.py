"""Hyperparameter studies of `mlp`: one driver, stateless workers, everything published to MLflow."""
