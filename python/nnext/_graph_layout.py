"""Where the nodes, arrows and labels of a drawn graph stand; a unit is an inch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

LETTER, LINE = 0.073, 0.17  # what a letter and a line of text take
WIDTH = 7.2  # of a row: in print the width of a page, with letters of seven points and more
APART = 0.045  # of an arrow forward, and of one back, from the middle between them
_GAP, _PORT, _LANE = 0.55, 0.26, 0.46  # between nodes of a column, arrows at a node, and rows
_MARGIN, _WIDEST = 0.15, 2.2
_PLACES = (0.5, 0.38, 0.62, 0.26, 0.74, 0.16, 0.84)  # of a label, along a stretch

Point = tuple[float, float]
Line = list[Point]


@dataclass
class Node:
    """A layer, a value, or a bend: the place where a long edge goes through a column."""

    text: list[str]
    notes: list[str] = field(default_factory=list)  # of gradients, in their colour
    column: int = 0
    kind: str = "layer"  # or "value" or "bend"
    ports: int = 1  # how many edges end at one of its sides
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        if self.kind == "bend":
            return 0.0
        return max(0.5, LETTER * max(map(len, self.text + self.notes)) + 0.24)

    @property
    def height(self) -> float:
        if self.kind == "bend":
            return 0.0
        lines = LINE * len(self.text + self.notes) + 0.2
        return max(lines, _PORT * self.ports + 0.1 if self.ports > 1 else 0.0)


@dataclass
class Edge:
    """What goes from a node to one in a later column, and its gradient."""

    path: list[Node]  # from where, bends, to where
    shape: str
    grad: str = ""
    line: Line = field(default_factory=list)
    stretches: list[tuple[Point, Point]] = field(default_factory=list)  # that may have a label


@dataclass
class Label:
    """A text in the middle of a box that is turned with its arrow."""

    text: str
    forward: bool
    x: float
    y: float
    degrees: float

    @property
    def corners(self) -> Line:
        a, b = LETTER * len(self.text) / 2, 0.065
        return _turned((self.x, self.y), a, b, math.radians(self.degrees))


def lay_out(nodes: Sequence[Node], edges: Sequence[Edge]) -> tuple[list[Label], float, float]:
    """Place the nodes, the lines of the edges and their labels; return these, and both sides.

    A graph that is wider than a page goes on in a row below. The highest point is at 0. Where
    labels would lie over each other, everything gets more room.
    """
    for node in nodes:
        ends = [sum(e.path[end] is node for e in edges) for end in (0, -1)]
        node.ports = max(1, *ends)
    for room in (1.0, 1.4, 2.0, 2.8):
        width, height = _place(nodes, edges, room)
        labels, free = _label(nodes, edges)
        if free:
            break
    return labels, width, height


def _place(nodes: Sequence[Node], edges: Sequence[Edge], room: float) -> tuple[float, float]:
    columns: dict[int, list[Node]] = {}
    for node in nodes:
        columns.setdefault(node.column, []).append(node)
    before: dict[int, list[Node]] = {id(node): [] for node in nodes}
    for edge in edges:
        for first, second in pairwise(edge.path):
            before[id(second)].append(first)
    for number in sorted(columns):
        _heights(columns[number], before, room)
    ports = _ports(nodes, edges)

    label = max(LETTER * len(text) for e in edges for text in (e.shape, e.grad))
    gaps = dict.fromkeys(columns, label + 0.35 * room)  # to the next column
    for first, second in (pair for edge in edges for pair in pairwise(edge.path)):
        # A steep fan of arrows is cut through by its own labels.
        gaps[first.column] = max(gaps[first.column], min(abs(first.y - second.y) / 2, _WIDEST))
    wide = {number: max(node.width for node in column) for number, column in columns.items()}
    side = _MARGIN
    while True:  # the more arrows go from row to row, the narrower the rows
        rows = _rows(columns, wide, gaps, WIDTH - 2 * side)
        row_of = {number: i for i, row in enumerate(rows) for number in row}
        crossing: list[list[tuple[Node, Node]]] = [[] for _ in rows]
        for edge in edges:
            for first, second in pairwise(edge.path):
                if row_of[first.column] != row_of[second.column]:
                    crossing[row_of[first.column]].append((first, second))
        needed = _MARGIN + (0.15 + 0.14 * max(map(len, crossing)) if len(rows) > 1 else 0.0)
        if needed <= side:
            break
        side = needed

    right = 0.0
    for row in rows:
        x = side
        for number in row:
            for node in columns[number]:
                node.x = x + wide[number] / 2
            x += wide[number] + gaps[number]
        right = max(right, x - gaps[row[-1]])
    lanes: dict[tuple[int, int], tuple[float, float, float]] = {}
    top = 0.0
    for row, over in zip(rows, crossing, strict=True):
        own = [node for number in row for node in columns[number]]
        shift = top - max(node.y + node.height / 2 for node in own) - 0.25
        for node in own:
            node.y += shift
        top = min(node.y - node.height / 2 for node in own) - 0.25
        # The highest of those that go on takes the lowest lane, so that no two cross.
        over.sort(key=lambda pair: (pair[0].y, pair[1].y))
        for i, (first, second) in enumerate(over):
            lane = top - 0.1 - _LANE * i
            outer, inner = right + 0.15 + 0.14 * i, side - 0.15 - 0.14 * (len(over) - 1 - i)
            lanes[id(first), id(second)] = outer, lane, inner
        top -= _LANE * len(over)
    for i, edge in enumerate(edges):
        _route(edge, ports[i], wide, lanes)
    return right + side, -top


def _heights(column: list[Node], before: dict[int, list[Node]], room: float) -> None:
    """Set the heights of a column's nodes from those of the column before."""
    wanted: dict[int, float] = {}
    for node in column:
        # Level with where it comes from; a value from nowhere is to bend no chain.
        given = before[id(node)]
        chain = [n.y for n in given if n.kind != "value"] or [n.y for n in given]
        wanted[id(node)] = sum(chain) / len(chain) if chain else -math.inf
    column.sort(key=lambda node: -wanted[id(node)])
    free = math.inf
    for node in column:
        top = free - node.height / 2 if math.isfinite(free) else math.inf
        node.y = min(wanted[id(node)], top)
        if math.isinf(node.y):
            node.y = 0.0 if math.isinf(top) else top
        free = node.y - node.height / 2 - _GAP * room


def _ports(nodes: Sequence[Node], edges: Sequence[Edge]) -> list[list[float]]:
    """Return for each edge how far from the middle of its two nodes it begins and ends."""
    ports = [[0.0, 0.0] for _ in edges]
    for node in nodes:
        for end, other in ((0, 1), (-1, -2)):
            own = [i for i, edge in enumerate(edges) if edge.path[end] is node]
            if len(own) < 2:
                continue
            own.sort(key=lambda i, other=other: -edges[i].path[other].y)  # type: ignore[misc]
            half = node.height / 2 - 0.12
            level = [edges[i].path[other].y - node.y for i in own]
            level = [min(max(y, -half), half) for y in level]  # straight where that can be
            if min(a - b for a, b in pairwise(level)) < 0.7 * _PORT:
                level = [half * (1 - 2 * k / (len(own) - 1)) for k in range(len(own))]
            for i, y in zip(own, level, strict=True):
                ports[i][end] = y
    return ports


def _rows(
    columns: dict[int, list[Node]], wide: dict[int, float], gaps: dict[int, float], room: float
) -> list[list[int]]:
    """Part the columns into rows that are so wide, as far as that can be."""
    numbers = sorted(columns)
    rows: list[list[int]] = [[]]
    for number in numbers:
        row = rows[-1]
        if row and sum(wide[n] + gaps[n] for n in row) + wide[number] > room:
            rows.append([])
            # The end does not stand alone, nor a value apart from what takes it.
            if number == numbers[-1] and len(row) > 1:
                rows[-1].insert(0, row.pop())
            first = rows[-1][0] if rows[-1] else number
            values = any(node.kind == "value" for node in columns[first - 1])
            if values and len(row) > 1:
                rows[-1].insert(0, row.pop())
        rows[-1].append(number)
    return rows


def _route(
    edge: Edge,
    ports: Sequence[float],
    wide: dict[int, float],
    lanes: dict[tuple[int, int], tuple[float, float, float]],
) -> None:
    """Draw an edge's line: level through columns, slanting between them, in lanes between rows."""
    start, end = edge.path[0], edge.path[-1]
    edge.stretches = []
    line = [(start.x + start.width / 2, start.y + ports[0])]
    for first, second in pairwise(edge.path):
        a = first.x + wide[first.column] / 2, line[-1][1]
        y = second.y + (ports[-1] if second is end else 0.0)
        b = second.x - wide[second.column] / 2, y
        if (id(first), id(second)) in lanes:
            outer, lane, inner = lanes[id(first), id(second)]
            line += [a, (outer, a[1]), (outer, lane), (inner, lane), (inner, y), b]
            edge.stretches.append(((outer, lane), (inner, lane)))
        else:
            edge.stretches += [(line[-1] if a[1] == b[1] else a, b)]
            line += [a, b]
    line.append((end.x - end.width / 2, end.y + ports[-1]))
    edge.line = _simple(line)


def _simple(line: Line) -> Line:
    """Leave out the points that are no corners."""
    kept = [line[0]]
    for p, q in pairwise(line[1:]):
        (ax, ay), (bx, by) = kept[-1], p
        if abs((bx - ax) * (q[1] - by) - (by - ay) * (q[0] - bx)) > 1e-9 and p != kept[-1]:
            kept.append(p)
    return [*kept, line[-1]]


def beside(line: Sequence[Point], off: float) -> Line:
    """Return the line that runs so far to the left of another, from the same walls."""
    normals = []
    for (ax, ay), (bx, by) in pairwise(line):
        long = math.hypot(bx - ax, by - ay)
        normals.append((-(by - ay) / long, (bx - ax) / long))
    moved = []
    for i, (x, y) in enumerate(line):
        (ax, ay), (bx, by) = normals[max(i - 1, 0)], normals[min(i, len(normals) - 1)]
        if i in (0, len(line) - 1):  # along the wall of the node
            moved.append((x, y + off / max(by if i == 0 else ay, 0.5)))
        else:
            part = off / max(1 + ax * bx + ay * by, 0.3)
            moved.append((x + part * (ax + bx), y + part * (ay + by)))
    return moved


# Labels


def _label(nodes: Sequence[Node], edges: Sequence[Edge]) -> tuple[list[Label], bool]:
    """Put the labels where they cover least; say whether none lies over another or a node."""
    solid = [_box(node) for node in nodes if node.kind != "bend"]
    labels: list[Label] = []
    free = True
    for edge in edges:
        lines = [[p, q] for other in edges if other is not edge for p, q in pairwise(other.line)]
        best: tuple[float, list[Label]] = math.inf, []
        for pair in _candidates(edge):
            boxes = [label.corners for label in pair]
            over = sum(_meet(box, other) for box in boxes for other in solid)
            cost = 100.0 * over + sum(_meet(box, line) for box in boxes for line in lines)
            if cost < best[0]:
                best = cost, pair
            if not cost:
                break
        free &= best[0] < 100
        labels += best[1]
        solid += [label.corners for label in best[1]]
    return labels, free


def _candidates(edge: Edge) -> Iterator[list[Label]]:
    off = APART + 0.09 if edge.grad else 0.09
    for place in _PLACES:
        for (ax, ay), (bx, by) in edge.stretches:
            long = math.hypot(bx - ax, by - ay)
            x, y = ax + place * (bx - ax), ay + place * (by - ay)
            nx, ny = -(by - ay) / long, (bx - ax) / long
            degrees = math.degrees(math.atan2(by - ay, bx - ax))
            degrees -= 180.0 * round(degrees / 180.0)
            pair = [Label(edge.shape, True, x + off * nx, y + off * ny, degrees)]
            if edge.grad:
                pair.append(Label(edge.grad, False, x - off * nx, y - off * ny, degrees))
            yield pair


def _box(node: Node) -> Line:
    return _turned((node.x, node.y), node.width / 2, node.height / 2, 0.0)


def _turned(middle: Point, a: float, b: float, angle: float) -> Line:
    c, s = math.cos(angle), math.sin(angle)
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return [
        (middle[0] + i * a * c - j * b * s, middle[1] + i * a * s + j * b * c) for i, j in signs
    ]


def _meet(first: Line, second: Line) -> bool:
    """Say whether two convex shapes, or a shape and a line, have a point in common."""
    axes = [(1.0, 0.0), (0.0, 1.0)]
    for shape in (first, second):
        axes += [(ay - by, bx - ax) for (ax, ay), (bx, by) in pairwise(shape[:3])]
    for x, y in axes:
        low, high = _shadow(first, x, y)
        other_low, other_high = _shadow(second, x, y)
        if high <= other_low or other_high <= low:
            return False
    return True


def _shadow(shape: Iterable[Point], x: float, y: float) -> tuple[float, float]:
    along = [x * px + y * py for px, py in shape]
    return min(along), max(along)
