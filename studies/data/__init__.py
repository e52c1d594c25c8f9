"""Where examples come from: published data sets, tables, and the cache of arrays."""
