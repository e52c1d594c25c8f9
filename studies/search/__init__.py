"""What a study tries: the study file, the search space, samplers and pruners."""
