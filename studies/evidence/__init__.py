"""What to believe: whether the winner of a search is better than base, or than the others."""
