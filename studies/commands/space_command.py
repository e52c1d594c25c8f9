"""The command about search spaces: `space`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from studies.commands.options import DataDirOption, in_range
from studies.commands.terminal import open_console, print_line

if TYPE_CHECKING:
    from rich.table import Table

    from studies.plan import Plan


def space(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study file.")],
    n: Annotated[int, typer.Option("-n", metavar="N", callback=in_range(1, 1000), help="How many to sample.")] = 5,
    seed: Annotated[int, typer.Option(metavar="N", callback=in_range(0), help="The seed of the sample.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Show what a study searches, and some sampled configurations."""
    from studies.commands.views import space_table
    from studies.plan import plan_study

    plan = plan_study(file, data_dir=data_dir)
    sampled = _sampled(plan, n, seed)
    console = open_console()
    if as_json:
        content = {"space": plan.spec.space.to_mapping(), "n_configurations": _n_points(plan), "sample": sampled}
        print_line(console, json.dumps(content, indent=1))
        return
    console.print(space_table(plan.spec))
    points = _n_points(plan)
    size = "infinitely many configurations" if points is None else f"{points:,} configurations"
    print_line(console, f"\nThe space has {size}. Base, and {n} drawn at random; costs are relative to base:\n")
    console.print(_table(sampled))


def _sampled(plan: Plan, n: int, seed: int) -> list[dict[str, Any]]:
    """Return base and sampled configurations: layers, number of parameters, cost, and the values that are searched."""
    from studies.search.sampled import Sampled, sample

    data, spec = plan.record.data, plan.spec
    base_cost = plan.epoch_cost(spec.base) * spec.base.epochs
    rows = []
    base = Sampled(spec.space.params_of_base() or {}, spec.base)
    for name, entry in [("base", base), *((str(i + 1), of) for i, of in enumerate(sample(spec.space, n, seed)))]:
        sizes = entry.sizes(data.n_features, data.n_targets, data.task)
        cost = plan.epoch_cost(entry.config) * entry.config.epochs / base_cost
        rows.append(
            {
                "name": name,
                "layers": "-".join(map(str, sizes)),
                "parameters": entry.config.network.count_parameters(sizes),
                "cost": round(cost, 3),
                "searched": entry.params,
            }
        )
    return rows


def _n_points(plan: Plan) -> int | None:
    """Return how many configurations the space has; None if it is not finite."""
    from studies.search.points import Points

    points = Points(plan.spec.space)
    return None if points.endless else points.count()


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    from studies.commands.views import short_value

    table = Table(box=None, padding=(0, 2))
    for column in ("", "layers", "parameters", "cost", "searched values"):
        table.add_column(column, justify="right" if column in ("", "parameters", "cost") else "left", overflow="fold")
    for row in rows:
        searched = ", ".join(f"{path} {short_value(value)}" for path, value in row["searched"].items())
        table.add_row(row["name"], row["layers"], f"{row['parameters']:,}", f"{row['cost']:.2f}", searched)
    return table
