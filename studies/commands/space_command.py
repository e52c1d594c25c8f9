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
        content = {
            "space": plan.spec.space.to_mapping(),
            "n_configurations": _n_points(plan),
            "constraints": _constraints(plan),
            "sample": sampled,
        }
        print_line(console, json.dumps(content, indent=1))
        return
    console.print(space_table(plan.spec))
    points = _n_points(plan)
    size = "infinitely many configurations" if points is None else f"{points:,} configurations"
    print_line(console, f"\nThe space has {size}.")
    if found := _constraints(plan):
        print_line(console, f"{found['allowed']} meet {found['limits']}.")
    print_line(console, f"Base, and {n} drawn at random; costs are relative to base:\n")
    console.print(_table(sampled))


def _sampled(plan: Plan, n: int, seed: int) -> list[dict[str, Any]]:
    """Return base and sampled configurations: layers, parameters, memory, cost, and the values that are searched."""
    from mlp.memory import DataSize, count_parameters, predict_memory
    from studies.search.sampled import Sampled, sample

    data, spec, size = plan.record.data, plan.spec, DataSize.of(plan.splits[0])
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
                "parameters": count_parameters(entry.config, size),
                "memory": predict_memory(entry.config, size),
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


def _constraints(plan: Plan) -> dict[str, str] | None:
    """Return the constraints of a study, and how many of its configurations meet them; None without constraints."""
    from studies.search.sampled import allowed_share

    space = plan.spec.space
    if space.constraints is None:
        return None
    return {"limits": str(space.constraints), "allowed": str(allowed_share(space, space.constraints))}


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    from studies.commands.views import short_value
    from studies.search.constraints import bytes_text

    table = Table(box=None, padding=(0, 2))
    for column in ("", "layers", "parameters", "memory", "cost", "searched values"):
        is_text = column in ("layers", "searched values")
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        searched = ", ".join(f"{path} {short_value(value)}" for path, value in row["searched"].items())
        sizes = (row["layers"], f"{row['parameters']:,}", bytes_text(row["memory"]))
        table.add_row(row["name"], *sizes, f"{row['cost']:.2f}", searched)
    return table
