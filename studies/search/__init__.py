"""What a study searches: study file, space, parameters, domains, samplers, pruners."""
