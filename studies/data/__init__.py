"""Where examples come from: published data sets, CSV files, and the cache that stores both as arrays."""
