"""Where the parts of an exported network lie in the network that trains.

Export writes some blocks in a shorter form with parts of its own (``for_export``).  A block says by
``exported_names`` which of its parts each of those is made of, by ``exported_norms`` which
normalisation was folded into a convolution behind it, and by ``exported_shortcut`` what its first
shortcut is multiplied by.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class ExportedNames:
    """Paths of an exported network's modules, translated.

    Args:
        model: The network that trains.

    Attributes:
        norms: Path of a convolution -> that of the normalisation before it which the exported
            convolution has taken in.
        shortcuts: Path of a block -> the factor of its first shortcut, as it is now.
    """

    def __init__(self, model: nn.Module) -> None:
        self._moved: dict[str, str] = {}
        self.norms: dict[str, str] = {}
        self.shortcuts: dict[str, Callable[[], Tensor]] = {}
        for path, part in model.named_modules():
            start = f"{path}." if path else ""
            for theirs, ours in getattr(part, "exported_names", {}).items():
                self._moved[start + theirs] = start + ours
            for kernel, norm in getattr(part, "exported_norms", {}).items():
                self.norms[start + kernel] = start + norm
            shortcut = getattr(part, "exported_shortcut", None)
            if shortcut is not None:
                self.shortcuts[path] = shortcut

    def in_training(self, path: str) -> str:
        """Return the path in the network that trains of a module of the exported one."""
        words = path.split(".")
        for count in range(len(words), 0, -1):
            start = ".".join(words[:count])
            if start in self._moved:
                return ".".join([self._moved[start], *words[count:]])
        return path
