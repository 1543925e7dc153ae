"""Tables in Markdown, aligned so that they can be read as they are."""


class Table:
    def __init__(self, *titles):
        self.rows = [[str(t) for t in titles]]

    def add(self, *cells):
        assert len(cells) == len(self.rows[0])
        self.rows.append([text(c) for c in cells])

    def __str__(self):
        width = [max(len(r[i]) for r in self.rows)
                 for i in range(len(self.rows[0]))]

        def line(cells):
            return "| " + " | ".join(
                c.ljust(w) if i == 0 else c.rjust(w)
                for i, (c, w) in enumerate(zip(cells, width))) + " |"
        rule = ["-" * w if i == 0 else "-" * (w - 1) + ":"
                for i, w in enumerate(width)]
        return "\n".join([line(self.rows[0]), line(rule),
                          *map(line, self.rows[1:])])


def text(cell):
    """Numbers with three digits that matter."""
    if cell is None:
        return "-"
    if not isinstance(cell, float):
        return str(cell)
    if abs(cell) >= 100:
        return f"{cell:.0f}"
    if abs(cell) >= 10:
        return f"{cell:.1f}"
    return f"{cell:.2f}" if abs(cell) >= 0.1 else f"{cell:.3f}"
