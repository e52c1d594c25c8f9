"""The network layer by layer, as a table: what it is made of, and what it costs."""

from __future__ import annotations

import pandas as pd

from mlp.network import Network
from mlp.registry import label


def summary(network: Network) -> pd.DataFrame:
    """Return a row a layer: input, units, normalization, activation, bias, parameters, bytes, multiply-adds.

    `parameters` counts all that is in theta, running statistics too; `multiply_adds` is for one example.
    """
    activations = [*map(label, network.activations), "raw outputs"]
    rows = []
    for layer, w in enumerate(network.weights):
        n_in, n_out = w.shape
        bias, norm = network.biases[layer], network.normalizations[layer]
        parameters = w.size + (0 if bias is None else bias.size)
        parameters += network.scales[layer].size + network.statistics[layer].size
        rows.append(
            {
                "layer": layer + 1,
                "input": n_in,
                "units": n_out,
                "normalization": norm.name,
                "activation": activations[layer],
                "bias": bias is not None,
                "parameters": parameters,
                "bytes": parameters * network.dtype.itemsize,
                "multiply_adds": w.size,
            }
        )
    return pd.DataFrame(rows).set_index("layer")


def summary_text(network: Network) -> str:
    """Return the table as text, with the sums of its last three columns."""
    table = summary(network)
    totals = table[["parameters", "bytes", "multiply_adds"]].sum()
    counts = (
        f"{totals['parameters']:,} parameters, {totals['bytes']:,} bytes, {totals['multiply_adds']:,} multiply-adds"
    )
    formatters = dict.fromkeys(totals.index, "{:,}".format)
    return f"{table.to_string(formatters=formatters)}\n{counts} an example"
