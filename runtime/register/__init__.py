"""``differseg register``: find how the thermal camera's view lies in the RGB camera's.

From shots of a board, from picked points, or from what both cameras see; the result is the file
that ``differseg run --registration`` takes.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    from differseg.runtime.register.command import main as command

    return command(argv)
