"""After the search: export, retrain, predict, figures."""
