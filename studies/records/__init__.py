"""What is durable: the home, the record of a study, the log of each trial, and the results read from them."""
