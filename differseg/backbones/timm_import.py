"""timm, which some trunks take their layers from: imported late, or said in one line what lacks."""

from __future__ import annotations

from typing import Any

import torch

from differseg.errors import MissingComponentError


def import_timm(who: str) -> Any:
    """Return the module ``timm``, which imports torchvision as well.

    Args:
        who: What needs it, for messages: "the Hiera backbone".

    Raises:
        MissingComponentError: It is not installed, or does not fit torch.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise MissingComponentError(
            f"{who} needs {error.name}, which is not installed: pip install 'differseg[timm]'"
        ) from None
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingComponentError(
            f"{who} needs timm, and timm cannot import torchvision beside torch "
            f"{torch.__version__} ({error}); install both from one package index, such as "
            "pip install --force-reinstall torch torchvision --index-url "
            "https://download.pytorch.org/whl/cpu"
        ) from None
    return timm
