"""What follows a search: export, retrain, predict, figures."""
