"""Draws what `throttle-bench --json FILE` measured, as SVG: `python3 bench/plot.py FILE docs/images`.

`bench-rates.svg` has the rates of each row with and without idle peers, `bench-handover.svg` hand-overs by
the number of waiters, and `bench-durable.svg` rates in memory and with a data directory. What the file does
not have is not drawn.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))

from draw import Drawing

LEFT, RIGHT = 130, 640
BAR, GAP = 16, 14
# The colours of `docs/draw.py`, in the order in which bars of one row are drawn.
COLOURS = ["free", "wait", "held"]

Report = dict[str, Any]


def count(number: float) -> str:
    """A number as people read it."""
    return f"{round(number):,}"


def bars(title: str, legend: Sequence[str], rows: Sequence[tuple[str, Sequence[float | None]]]) -> Drawing:
    """Bars from the left, a group for each row, with their figures at the end."""
    height = 70 + len(rows) * (len(legend) * BAR + GAP) + 20
    drawing = Drawing(height, title)
    drawing.text(20, 28, title, "bold")
    x = float(LEFT)
    colours = COLOURS[-len(legend) :]
    for colour, name in zip(colours, legend, strict=True):
        drawing.box(x, 40, 12, 12, colour)
        drawing.text(x + 18, 51, name, "small")
        x += 40 + 7 * len(name)
    most = max(value for _, values in rows for value in values if value is not None)
    y = 70.0
    for name, values in rows:
        drawing.text(LEFT - 10, y + len(values) * BAR / 2 + 5, name, "end code")
        for colour, value in zip(colours, values, strict=True):
            if value is not None:
                width = (RIGHT - LEFT) * value / most
                drawing.box(LEFT, y + 1, width, BAR - 3, colour)
                drawing.text(LEFT + width + 6, y + 12, count(value), "small")
            y += BAR
        y += GAP
    return drawing


def rates(report: Report) -> Drawing | None:
    """Operations a second: the limit, without idle peers, and with most of them."""
    lines = report["rates"]
    names = list(dict.fromkeys(line["row"] for line in lines if line["server"] == "throttle"))
    most = max((line["idle_peers"] for line in lines), default=0)

    def rate(row: str, server: str, idle: int) -> float | None:
        found = (
            line["rate"]["median"]
            for line in lines
            if (line["row"], line["server"], line["idle_peers"]) == (row, server, idle)
        )
        return next(found, None)

    rows = [
        (name, [rate(name, "bare hyper", 0), rate(name, "throttle", 0), rate(name, "throttle", most)])
        # One request of this row is for a thousand peers, so its bar would hide the others.
        for name in names
        if name != "heartbeats"
    ]
    legend = ["bare server, the limit", "throttle, no idle peers", f"throttle, {count(most)} idle peers"]
    return bars("Operations a second", legend, rows) if rows else None


def handover(report: Report) -> Drawing | None:
    """Grants a second by the number of waiters."""
    lines = [line for line in report["handover"] if line["server"] == "throttle"]
    rows = [(count(line["waiters"]), [line["rate"]["median"]]) for line in lines]
    return bars("Hand-overs of a mutex a second, by waiters", ["throttle"], rows) if rows else None


def durable(report: Report) -> Drawing | None:
    """Rates in memory and with a data directory."""
    rows = [(line["row"], [rate["median"] for rate in line["rates"]]) for line in report["durable"]]
    legend = ["in memory", "with a data directory"]
    return bars("Operations a second, in memory and durable", legend, rows) if rows else None


def main() -> None:
    """Writes the drawings for which there are figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", type=Path, help="a file that throttle-bench --json has written")
    parser.add_argument("folder", type=Path, help="where the drawings go")
    arguments = parser.parse_args()
    report: Report = json.loads(arguments.figures.read_text())
    for name, draw in (("rates", rates), ("handover", handover), ("durable", durable)):
        if drawing := draw(report):
            (arguments.folder / f"bench-{name}.svg").write_text(drawing.svg())


if __name__ == "__main__":
    main()
