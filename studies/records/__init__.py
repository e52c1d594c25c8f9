"""What is durable: the home directory, the record of a study, the log of each trial."""
