"""Where the boxes and lines of an architecture picture go.

Columns are resolutions, all down to a quarter in the first; rows follow the order of the
computation.  Lines run down between boxes and sideways in the gaps between rows.

Convention:
    Pixels, x to the right and y down, from the top left corner of the picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drawing.text import Line, box_lines, height_of
from drawing.trace import OUTPUT, Architecture, Block, stride_of

WIDTH_PX = 1000
"""Of a picture: about what a page shows without making it smaller."""
MARGIN_PX = 16
TOP_PX = 90
GUTTER_PX = 26
"""Between boxes beside each other: room for lines that run past them."""
WIDEST_BOX_PX = 190
GAP_PX = 24
TRACK_PX = 7
"""Between parallel lines."""
MOST_BESIDE = 2
"""Boxes of one column and row."""
FINE_STRIDE = 4
"""All resolutions from full size to this part of it share the first column."""
_CLEARANCE_PX = 7
_EDGE_PX = 4
_BEND_PX = 12
"""By how much longer a line may be that saves a bend."""

Edge = tuple[str, str]


@dataclass
class Place:
    """A box; ``columns`` are the first and last one that it spans."""

    row: int
    columns: tuple[int, int]
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0

    @property
    def center(self) -> float:
        """Middle along x."""
        return self.x + self.width / 2

    @property
    def is_wide(self) -> bool:
        """Whether it spans several columns."""
        return self.columns[0] != self.columns[1]


@dataclass(frozen=True)
class Route:
    """Where a line leaves, runs down, and arrives (x)."""

    start: float
    lane: float
    end: float


@dataclass(frozen=True)
class Piece:
    """A horizontal piece in a gap between rows, with the places where lines join it."""

    source: str
    tops: tuple[float, ...]
    bottoms: tuple[float, ...]

    @property
    def span(self) -> tuple[float, float]:
        """Its two ends."""
        ends = (*self.tops, *self.bottoms)
        return min(ends), max(ends)


class Layout:
    """Where everything goes.

    Args:
        architecture: What to draw.
    """

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.blocks = {block.name: block for block in architecture.blocks}
        order = {name: number for number, name in enumerate(self.blocks)}
        self.edges = sorted(architecture.edges, key=lambda edge: (order[edge[0]], order[edge[1]]))
        strides = {s for block in architecture.blocks for s in self._strides(block)}
        self.strides = sorted({max(stride, FINE_STRIDE) for stride in strides})
        columns = {name: self._columns(block) for name, block in self.blocks.items()}
        rows = _rows(self.blocks, self.edges, columns)
        self.places = {name: Place(rows[name], columns[name]) for name in self.blocks}
        self.row_count = 1 + max(rows.values())
        self.columns_x = self._set_x()
        self.lines: dict[str, list[Line]] = {
            name: box_lines(block, self.places[name].width, self._sizes(block))
            for name, block in self.blocks.items()
        }
        ends = self._ends({edge: self.places[edge[0]].center for edge in self.edges})
        # Once more, now that it is known from which side each line arrives.
        lanes = {edge: route.lane for edge, route in self._routes(ends).items()}
        self.routes = self._routes(self._ends(lanes))
        self._tracks: dict[tuple[int, str, Edge | None], int] = {}
        self._track_counts = [self._assign_tracks(gap) for gap in range(self.row_count)]
        self._set_y()

    def _strides(self, block: Block) -> list[int]:
        """Return the resolutions of a block's maps; a pooled one has its source's."""
        maps = [shape for shape in block.shapes if shape[1:] != (1, 1)]
        if maps:
            return [stride_of(shape, self.architecture.size_hw) for shape in maps]
        source = next((self.blocks[a] for a, b in self.edges if b == block.name), None)
        return [1] if source is None else self._strides(source)[:1]

    def _columns(self, block: Block) -> tuple[int, int]:
        found = [self.strides.index(max(s, FINE_STRIDE)) for s in self._strides(block)]
        return min(found), max(found)

    def _sizes(self, block: Block) -> str:
        """Say what maps a block gives: channels x height x width where there is one."""
        if len(block.shapes) == 1:
            return "x".join(map(str, block.shapes[0]))
        sizes = {shape[1:] for shape in block.shapes}
        if len(sizes) == 1:
            channels = " + ".join(str(shape[0]) for shape in block.shapes)
            return f"{channels} channels, {'x'.join(map(str, sizes.pop()))}"
        strides = self._strides(block)
        return f"{len(block.shapes)} maps, 1/{min(strides)} to 1/{max(strides)}"

    def _set_x(self) -> list[tuple[float, float]]:
        """Place boxes in columns; returns the left and right end of each column."""
        cells: dict[tuple[int, int], list[Place]] = {}
        for place in self.places.values():
            if not place.is_wide:
                cells.setdefault((place.columns[0], place.row), []).append(place)
        slots = [
            max((len(cell) for (c, _), cell in cells.items() if c == column), default=1)
            for column in range(len(self.strides))
        ]
        room = (WIDTH_PX - 2 * MARGIN_PX) / sum(slots)
        box = min(WIDEST_BOX_PX, room - GUTTER_PX)
        columns, left = [], float(MARGIN_PX)
        for column, count in enumerate(slots):
            right = left + count * room
            for members in (cell for (c, _), cell in cells.items() if c == column):
                first = (left + right - len(members) * room) / 2 + (room - box) / 2
                for number, place in enumerate(members):
                    place.x, place.width = first + number * room, box
            columns.append((left, right))
            left = right
        for place in self.places.values():
            if place.is_wide:
                place.x = columns[place.columns[0]][0] + GUTTER_PX / 2
                place.width = columns[place.columns[1]][1] - GUTTER_PX / 2 - place.x
        return columns

    def _ends(self, arriving_x: dict[Edge, float]) -> dict[Edge, float]:
        """Spread the lines into a box over its top, in the order of where they come from."""
        ends: dict[Edge, float] = {}
        for name, place in self.places.items():
            into = sorted((e for e in self.edges if e[1] == name), key=lambda e: arriving_x[e])
            step = min(20, place.width / (len(into) + 1))
            for number, edge in enumerate(into):
                ends[edge] = place.center + (number - (len(into) - 1) / 2) * step
                if place.is_wide:
                    low, high = place.x + 12, place.x + place.width - 12
                    ends[edge] = min(max(self.places[edge[0]].center, low), high)
        return ends

    def _routes(self, ends: dict[Edge, float]) -> dict[Edge, Route]:
        """Choose for every line where it runs down, the shortest ones first."""
        routes: dict[Edge, Route] = {}
        by_length = sorted(self.edges, key=lambda e: self.places[e[1]].row - self.places[e[0]].row)
        for edge in by_length:
            source, end = self.places[edge[0]], ends[edge]
            start = source.center
            if source.is_wide:
                start = min(max(end, source.x + 12), source.x + source.width - 12)
            lane = self._lane(edge, start, end, routes)
            if abs(start - end) < source.width / 3 and self._lane(edge, end, end, routes) == end:
                start = lane = end  # straight down
            routes[edge] = Route(start, lane, end)
        return routes

    def _lane(self, edge: Edge, start: float, end: float, routes: dict[Edge, Route]) -> float:
        first, last = (self.places[name].row for name in edge)
        if last == first + 1:
            return end
        boxes = [p for p in self.places.values() if first < p.row < last]
        taken = [
            route.lane
            for (a, b), route in routes.items()
            if a != edge[0] and self.places[a].row < last and first < self.places[b].row
        ]
        raster = range(_EDGE_PX, WIDTH_PX - _EDGE_PX + 1, 2)
        free = [
            x
            for x in (start, end, *map(float, raster))
            if all(abs(x - other) >= TRACK_PX for other in taken)
            and not any(p.x - _CLEARANCE_PX < x < p.x + p.width + _CLEARANCE_PX for p in boxes)
        ]
        bends = {start: 0, end: 0}
        return min(
            free,
            key=lambda x: abs(x - start) + abs(x - end) + _BEND_PX * bends.get(x, 1),
            default=float(_EDGE_PX),
        )

    def _pieces(self, gap: int) -> Iterator[tuple[Edge | None, Piece]]:
        """Yield what runs sideways in a gap: all lines that leave a box, each one that arrives."""
        for name, place in self.places.items():
            if place.row != gap:
                continue
            routes = [self.routes[edge] for edge in self.edges if edge[0] == name]
            bends = [r for r in routes if r.start != r.lane]
            if bends:
                yield None, Piece(name, tuple(r.start for r in bends), tuple(r.lane for r in bends))
        for edge, route in self.routes.items():
            if self.places[edge[1]].row == gap + 1 and route.lane != route.end:
                yield edge, Piece(edge[0], (route.lane,), (route.end,))

    def _assign_tracks(self, gap: int) -> int:
        """Give the pieces in a gap their heights; returns how many there are."""
        waiting = sorted(self._pieces(gap), key=lambda item: item[1].span[1] - item[1].span[0])
        tracks: list[list[Piece]] = []
        while waiting:
            ready = (item for item in waiting if not any(_above(p, item[1]) for _, p in waiting))
            edge, piece = next(ready, waiting[0])
            waiting.remove((edge, piece))
            below = [n for n, row in enumerate(tracks) if any(_above(p, piece) for p in row)]
            number = max(below, default=-1) + 1
            while number < len(tracks) and any(_clash(piece, p) for p in tracks[number]):
                number += 1
            if number == len(tracks):
                tracks.append([])
            tracks[number].append(piece)
            self._tracks[gap, piece.source, edge] = number
        return len(tracks)

    def _set_y(self) -> None:
        self.gap_y: list[float] = []
        y = float(TOP_PX)
        for row in range(self.row_count):
            members = [name for name, place in self.places.items() if place.row == row]
            height = max(height_of(self.lines[name]) for name in members)
            for name in members:
                self.places[name].y, self.places[name].height = y, height
            y += height
            self.gap_y.append(y)
            y += GAP_PX + TRACK_PX * max(0, self._track_counts[row] - 1)
        self.bottom = self.gap_y[-1] + 12

    def points(self, edge: Edge) -> list[tuple[float, float]]:
        """Return the corners of a line."""
        source, target = (self.places[name] for name in edge)
        route = self.routes[edge]
        corners = [(route.start, source.y + source.height)]
        if route.start != route.lane:
            y = self._height(source.row, edge[0], None)
            corners += [(route.start, y), (route.lane, y)]
        if route.lane != route.end:
            y = self._height(target.row - 1, edge[0], edge)
            corners += [(route.lane, y), (route.end, y)]
        return [*corners, (route.end, target.y - 2)]

    def _height(self, gap: int, source: str, edge: Edge | None) -> float:
        return self.gap_y[gap] + GAP_PX / 2 - 3 + TRACK_PX * self._tracks[gap, source, edge]


def _above(one: Piece, other: Piece) -> bool:
    """Whether a piece must be the higher one, for its line from above would cover the other's."""
    if one.source == other.source:
        return False
    return any(abs(top - low) < 4 for top in one.tops for low in other.bottoms)


def _clash(one: Piece, other: Piece) -> bool:
    """Whether two pieces may not lie at one height; those of one tensor may."""
    if one.source == other.source:
        return False
    (a, b), (c, d) = one.span, other.span
    return a < d + 8 and c < b + 8


def _rows(
    blocks: dict[str, Block], edges: Sequence[Edge], columns: dict[str, tuple[int, int]]
) -> dict[str, int]:
    """Return each block's row: below its sources, and beside its like where that is possible."""
    order = list(blocks)
    into = {name: [a for a, b in edges if b == name] for name in order}
    behind: dict[str, set[str]] = {}
    for name in order:  # every source stands before its target
        behind[name] = {name}.union(*(behind[source] for source in into[name]))
    families: dict[str, list[str]] = {}
    for name in order:
        kind = "in" if not into[name] else re.sub(r"\d+", "#", name)
        families.setdefault(kind, []).append(name)
    alone = {name: [name] for name in order}
    beside = dict(alone)
    for members in families.values():
        held = [columns[name][0] for name in members]
        fits = max(map(held.count, held)) <= MOST_BESIDE
        if fits and not any(a != b and a in behind[b] for a in members for b in members):
            beside.update(dict.fromkeys(members, members))
    rows = _longest(order, into, beside) or _longest(order, into, alone)
    assert rows is not None  # without company there is always an order
    return _spread(rows, into, columns)


def _spread(
    rows: dict[str, int], into: dict[str, list[str]], columns: dict[str, tuple[int, int]]
) -> dict[str, int]:
    """Move blocks down where a row is full; the output comes last."""
    held: dict[tuple[int, int], int] = {}
    placed: dict[str, int] = {}
    names = sorted((name for name in rows if name != OUTPUT), key=lambda name: rows[name])
    for name in names:
        first, last = columns[name]
        need = 1 if first == last else MOST_BESIDE
        row = max([rows[name], *(placed[source] + 1 for source in into[name])])
        cells = range(first, last + 1)
        while any(held.get((row, cell), 0) + need > MOST_BESIDE for cell in cells):
            row += 1
        for cell in cells:
            held[row, cell] = held.get((row, cell), 0) + need
        placed[name] = row
    return {**placed, OUTPUT: 1 + max(placed.values())}


def _longest(
    order: Sequence[str], into: dict[str, list[str]], beside: dict[str, list[str]]
) -> dict[str, int] | None:
    """Return the length of the longest way to each block; None where company makes a circle."""
    rows = dict.fromkeys(order, 0)
    for _ in order:
        before = dict(rows)
        for name in order:
            low = max((rows[source] + 1 for source in into[name]), default=0)
            for member in beside[name]:
                rows[member] = max(rows[member], low)
        if rows == before:
            return rows
    return None
