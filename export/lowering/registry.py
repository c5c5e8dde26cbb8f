"""Every lowering by the node that it rewrites."""

from __future__ import annotations

from differseg.export.lowering.framework import Lowering

_ALL: tuple[Lowering, ...] = ()

LOWERINGS: dict[str, Lowering] = {lowering.op_type: lowering for lowering in _ALL}
"""Node's name to the class that writes it out."""
