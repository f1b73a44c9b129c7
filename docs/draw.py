"""Draws the pictures of `concepts.md` as SVG: `python3 docs/draw.py docs/images`.

They are readable on light and on dark pages: each has a ground of its own, which follows the system's theme.
"""

import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

STYLE = """
svg { --ground: #ffffff; --ink: #1f2933; --faint: #8795a1; --line: #c3ccd5;
      --held: #3b7dd8; --wait: #b56a0c; --free: #e6ebf0; --bad: #c93c37; --good: #2f8a57; --inside: #ffffff; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #1b2129; --ink: #e4e9ee; --faint: #94a1ae; --line: #47525e;
        --held: #5b9bf0; --wait: #e6a243; --free: #303944; --bad: #ee6e68;
        --good: #5cbd85; --inside: #10151b; } }
text { font: 14px system-ui, sans-serif; fill: var(--ink); }
.small { font-size: 12px; fill: var(--faint); } .mid { text-anchor: middle; } .end { text-anchor: end; }
.inside { fill: var(--inside); } .bold { font-weight: 600; }
.code { font-family: ui-monospace, monospace; font-size: 13px; }
"""
WIDTH = 720


class Drawing:
    """Shapes, one after the other."""

    def __init__(self, height: int, title: str) -> None:
        """An empty one; the title is for those who do not see it."""
        self._height = height
        self._title = title
        self._shapes: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", colour: str = "") -> None:
        """Words, whose base line begins there."""
        style = f' style="fill: var(--{colour})"' if colour else ""
        self._shapes.append(f'<text x="{x:g}" y="{y:g}" class="{kind}"{style}>{escape(words)}</text>')

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        words: str = "",
        outline: bool = False,
    ) -> None:
        """A box with words in its middle."""
        fill = "none" if outline else f"var(--{colour})"
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" '
            f'style="fill: {fill}; stroke: var(--{colour}); stroke-width: 1.5"/>'
        )
        if words:
            inside = "" if outline or colour == "free" else " inside"
            self.text(x + width / 2, y + height / 2 + 5, words, f"mid{inside}")

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: str = "line", dashed: bool = False
    ) -> None:
        """A line."""
        dashes = "; stroke-dasharray: 5 4" if dashed else ""
        self._shapes.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" '
            f'style="stroke: var(--{colour}); stroke-width: 1.5{dashes}"/>'
        )

    def arrow(
        self, x1: float, y1: float, x2: float, y2: float, colour: str = "ink", dashed: bool = False
    ) -> None:
        """An arrow, with its head at the second point."""
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        along, across = ((x2 - x1) / length, (y2 - y1) / length), ((y1 - y2) / length, (x2 - x1) / length)
        self.line(x1, y1, x2 - 6 * along[0], y2 - 6 * along[1], colour, dashed)
        corners = [(x2, y2)] + [
            (x2 - 9 * along[0] + side * across[0], y2 - 9 * along[1] + side * across[1]) for side in (4, -4)
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        self._shapes.append(f'<polygon points="{points}" style="fill: var(--{colour})"/>')

    def svg(self) -> str:
        """The file."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self._height}" '
                f'width="{WIDTH}" height="{self._height}" role="img">',
                f"<title>{escape(self._title)}</title>",
                f"<style>{STYLE}</style>",
                f'<rect width="{WIDTH}" height="{self._height}" rx="8" style="fill: var(--ground)"/>',
                *self._shapes,
                "</svg>\n",
            ]
        )


def lease() -> Drawing:
    """Heartbeats move the end of a lease; without them it ends, and the next waiter is granted."""
    d = Drawing(236, "Heartbeats move the end of a lease; when they stop, the next waiter gets the lock")
    d.text(20, 58, "worker 1", "bold")
    d.box(110, 40, 250, 28, "held", "holds the lock")
    d.box(360, 40, 150, 28, "held", "the lease runs out", outline=True)
    d.box(510, 40, 26, 28, "free")
    for x in (190, 270, 350):
        d.arrow(x, 100, x, 71, "good")
    d.text(270, 118, "heartbeats: the lease starts anew, in full", "small mid")
    d.line(360, 28, 360, 76, "bad")
    d.text(366, 28, "it dies: no heartbeats any more", "", "bad")
    d.text(530, 86, "margin", "small end")
    d.text(20, 168, "worker 2", "bold")
    d.box(150, 150, 386, 28, "wait", "waits; its request stays open")
    d.box(536, 150, 164, 28, "held", "holds the lock")
    d.line(536, 72, 536, 194, "line", dashed=True)
    d.text(536, 214, "the lock comes free, and worker 2 is told at that moment", "small mid")
    return d


def queue() -> Drawing:
    """Who waits is served in order, so nobody starves."""
    d = Drawing(
        210, "Four slots, three of them held; a request for two waits first, and one for one behind it"
    )
    d.text(20, 34, "database: max 4", "bold code")
    for slot, (colour, words) in enumerate(
        [("held", "ann"), ("held", "ann"), ("held", "bob"), ("free", "free")]
    ):
        d.box(20 + 80 * slot, 50, 74, 40, colour, words)
    d.text(20, 114, "ann holds 2, bob holds 1", "small")
    d.text(400, 34, "queue: first come, first served", "bold")
    d.box(400, 50, 140, 40, "wait", "cid asks for 2")
    d.box(556, 50, 140, 40, "wait", "dan asks for 1")
    d.arrow(396, 70, 346, 70)
    d.text(400, 114, "first: it waits until 2 are free", "small")
    d.text(556, 132, "1 is free, but cid", "small")
    d.text(556, 148, "was here before", "small")
    d.text(20, 186, "When bob releases, cid gets its 2 in the same instant. Then dan is next.")
    return d


def levels() -> Drawing:
    """Whoever holds a level asks only for lower ones."""
    d = Drawing(232, "Whoever holds a lock of level 1 may ask for level 0, not the other way round")
    d.box(270, 30, 180, 44, "held", "bucket: level 1")
    d.box(270, 150, 180, 44, "held", "database: level 0")
    d.text(20, 56, "worker 1 holds the bucket", "bold")
    d.arrow(150, 66, 262, 166, "good")
    d.text(20, 140, "asks for the database:", "small")
    d.text(20, 158, "may wait for it", "", "good")
    d.text(480, 176, "worker 2 holds the database", "bold")
    d.arrow(570, 160, 458, 60, "bad")
    d.text(560, 84, "asks for the bucket:", "small")
    d.text(560, 102, "refused at once, 409", "", "bad")
    d.text(360, 218, "Everybody goes downwards, so nobody can wait in a circle.", "mid")
    return d


def fencing() -> Drawing:
    """A holder that was overtaken has the smaller token, and storage refuses it."""
    d = Drawing(262, "A writer that was suspended comes back with an old token, and the storage refuses it")
    d.text(20, 58, "writer 1", "bold")
    d.box(100, 40, 120, 28, "held", "token 1001")
    d.box(220, 40, 300, 28, "free", "suspended; its lease ends")
    d.box(520, 40, 180, 28, "bad", "wakes: still believes", outline=True)
    d.text(20, 128, "writer 2", "bold")
    d.box(130, 110, 220, 28, "wait", "waits")
    d.box(350, 110, 200, 28, "held", "token 1002")
    d.text(20, 208, "storage", "bold")
    d.box(100, 190, 600, 28, "free")
    for x, words in ((180, "1001: taken"), (440, "1002: taken")):
        d.text(x, 209, words, "mid")
    d.text(620, 209, "1001 < 1002: refused", "mid", "bad")
    d.arrow(180, 70, 180, 187, "good")
    d.arrow(440, 140, 440, 187, "good")
    d.arrow(620, 70, 620, 187, "bad")
    d.text(360, 246, "The storage remembers the largest token that it has seen.", "mid")
    return d


def rates() -> Drawing:
    """With a rate, count comes back no sooner than a time after it was given."""
    d = Drawing(226, "Three calls a second: a call that ends early gives its place back only after a second")
    d.text(20, 32, 'api = { max = 3, per = "1s" }', "bold code")
    for row in range(3):
        y = 50 + 38 * row
        d.text(20, y + 19, f"place {row + 1}", "small")
    for row, start, call in (
        (0, 90, 70),
        (1, 120, 210),
        (2, 160, 50),
        (0, 270, 90),
        (2, 340, 60),
        (1, 330, 50),
    ):
        y = 50 + 38 * row
        d.box(start, y, max(180, call), 28, "free")
        d.box(start, y, call, 28, "held", "call" if call < 200 else "a call of more than a second")
    d.line(90, 172, 90, 182)
    d.line(270, 172, 270, 182)
    d.line(90, 177, 270, 177)
    d.text(180, 196, "1 s", "small mid")
    d.text(545, 68, "blue: the call runs")
    d.text(545, 90, "grey: it has ended;")
    d.text(545, 110, "its place comes back")
    d.text(545, 130, "only after the second")
    d.text(290, 196, "In no second do more than three calls begin.")
    return d


def patterns() -> Drawing:
    """Each name that matches a pattern is a semaphore of its own."""
    d = Drawing(214, "One line declares a semaphore for each tenant, made on first use")
    d.text(20, 34, '"tenant/*" = 2', "bold code")
    for row, (name, slots, note) in enumerate(
        [
            ("tenant/acme", ["held", "held"], "full: the next one waits, and holds up acme only"),
            ("tenant/globex", ["held", "free"], "a queue and a count of its own"),
            ("tenant/initech", [], "nobody uses it, so it is not there; its first user makes it"),
        ]
    ):
        y = 56 + 46 * row
        d.text(44, y + 20, name, "code")
        for slot, colour in enumerate(slots):
            d.box(180 + 56 * slot, y, 50, 30, colour)
        if not slots:
            for slot in range(2):
                d.box(180 + 56 * slot, y, 50, 30, "line", outline=True)
        d.text(310, y + 20, note)
        d.line(30, y + 15, 40, y + 15)
    d.line(30, 42, 30, 163)
    d.text(20, 200, "In the metrics all of them share one series.", "small")
    return d


PICTURES: dict[str, Callable[[], Drawing]] = {
    "lease": lease,
    "queue": queue,
    "levels": levels,
    "fencing": fencing,
    "rates": rates,
    "patterns": patterns,
}


def main() -> None:
    """Writes all of them into a folder."""
    folder = Path(sys.argv[1])
    for name, picture in PICTURES.items():
        (folder / f"{name}.svg").write_text(picture().svg())


if __name__ == "__main__":
    main()
