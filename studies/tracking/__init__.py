"""How a study gets to MLflow: projection, mirror, publisher, UI."""
