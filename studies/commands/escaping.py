"""A console that shows control characters instead of sending them to the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from mlp.errors import escaped


class EscapingConsole(Console):
    """A console in which everything that is printed passes through `mlp.errors.escaped`, whatever it is part of."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of anything that can be printed; Rich calls this for each part of a table, too."""
        for text, style, control in super().render(renderable, options):
            is_text = control is None and text != "\n"
            yield Segment("\n".join(map(escaped, text.split("\n"))) if is_text else text, style, control)
