"""How a study runs: clock, segments, engines, storage, view, ledger, driver."""
