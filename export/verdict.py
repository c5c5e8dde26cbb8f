"""What one target says about one node: the unit of every report about a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["yes", "condition", "no"]


@dataclass(frozen=True)
class Verdict:
    """What one target says about one node, or about the graph as a whole (``op`` is empty)."""

    node: str
    op: str
    level: Level
    reason: str = ""
    advice: str = ""
    source: str = ""
