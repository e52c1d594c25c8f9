"""A table of a network's layers: what each computes, its parameters and its cost."""

from __future__ import annotations

import pandas as pd

from mlp.network import Network
from mlp.records import label

COUNTS = ["parameters", "bytes", "multiply_adds"]


def summary(network: Network, *, output: str = "identity") -> pd.DataFrame:
    """Return one row per layer, numbered from 1: its inputs, units, settings and cost.

    `parameters` counts everything in theta, including the running statistics of normalization. `multiply_adds` is the
    cost of one example.

    Args:
        network: the network; the values of its parameters do not matter.
        output: the name of the last layer's activation, which the loss contains.
    """
    activations = [*map(label, network.activations), output]
    dropout = [network.dropout] * len(network.activations) + [0.0]
    rows = []
    for layer, w in enumerate(network.weights):
        bias, norm = network.biases[layer], network.normalizations[layer]
        parameters = w.size + (0 if bias is None else bias.size)
        parameters += network.scales[layer].size + network.statistics[layer].size
        parameters += network.input_scale.size if layer == 0 else 0
        parameters += network.alphas[layer].size if layer < len(network.alphas) else 0
        rows.append(
            {
                "layer": layer + 1,
                "input": w.shape[0],
                "units": w.shape[1],
                "normalization": label(norm),
                "activation": activations[layer],
                "dropout": dropout[layer],
                "bias": bias is not None,
                "parameters": parameters,
                "bytes": parameters * network.dtype.itemsize,
                "multiply_adds": w.size,
            }
        )
    return pd.DataFrame(rows).set_index("layer")


def summary_text(network: Network, *, output: str = "identity") -> str:
    """Return the table as text, with totals in the last line.

    Columns that are `none` for every layer (normalization, dropout) are left out.

    Args:
        network: the network; the values of its parameters do not matter.
        output: the name of the last layer's activation, which the loss contains.
    """
    table = summary(network, output=output)
    cells = pd.DataFrame(
        {
            "input": table["input"].map("{:,}".format),
            "units": table["units"].map("{:,}".format),
            "normalization": table["normalization"],
            "activation": table["activation"],
            "dropout": table["dropout"].map(lambda rate: f"{rate:g}" if rate else "none"),
            "bias": table["bias"].map({True: "yes", False: "no"}),
            **{name: table[name].map("{:,}".format) for name in COUNTS},
        }
    )
    unused = [name for name in ("normalization", "dropout") if (cells[name] == "none").all()]
    cells = cells.drop(columns=unused).reset_index().astype(str)
    total = dict.fromkeys(cells.columns, "") | {"layer": "total"}
    total |= {name: f"{table[name].sum():,}" for name in COUNTS}
    rows = [list(cells.columns), *cells.values.tolist(), list(total.values())]
    left_aligned = {"normalization", "activation", "bias"}
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if name in left_aligned else cell.rjust(width)
            for cell, width, name in zip(row, widths, cells.columns, strict=True)
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0].replace("_", " "), rule, *lines[1:-1], rule, lines[-1]])
