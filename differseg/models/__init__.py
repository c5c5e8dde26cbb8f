"""The networks: one file a system, and the registry that makes them by name.

What lives here: :mod:`~differseg.models.spec` (what a network takes and gives),
:mod:`~differseg.models.base` (what all networks share), :mod:`~differseg.models.system` (what a
system registers), :mod:`~differseg.models.configs` (settings and named configurations, a module a
system), :mod:`~differseg.models.registry` (from name to network), the networks themselves,
:mod:`~differseg.models.deployment` (the module that is exported) and
:mod:`~differseg.models.listing` (``differseg models``).

Importing this package loads no torch; creating a network does.
"""

from differseg.models.registry import create_model, list_models
from differseg.models.spec import ModalitySpec, ModelSpec
from differseg.models.system import ModelInfo

__all__ = ["ModalitySpec", "ModelInfo", "ModelSpec", "create_model", "list_models"]
