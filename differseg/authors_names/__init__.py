"""State-dict names of published checkpoints for our names, one module a publisher.

Each module's function takes one of our keys and returns the publisher's;
``{published(k): k for k in keys}`` is the way back.  Every pair of names is one to one.
Standard library only.
"""

from differseg.authors_names.differseg import differseg_name, sam2_name
from differseg.authors_names.fsanet import fsanet_name
from differseg.authors_names.rgbt_fusion import rgbt_fusion_name
from differseg.authors_names.segnext import is_segnext_constant, segnext_name

__all__ = [
    "differseg_name",
    "fsanet_name",
    "is_segnext_constant",
    "rgbt_fusion_name",
    "sam2_name",
    "segnext_name",
]
