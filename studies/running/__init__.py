"""How a study runs: clock, workers, storage, ledger, driver."""
