"""Every error that a user can cause, with a stable code and the exit status it maps to.

An error's text is one line and says four things: what is wrong, where, what was got against what
was expected, and what to do next.  The command line prints ``error[CODE]: text`` and exits with
``exit_code``; ``E_BUG`` with status 70 is a mistake in differseg itself.  Library users catch
:class:`DifferSegError` or one of its seven kinds.
"""

from __future__ import annotations


class DifferSegError(Exception):
    """Base of every error that differseg raises on purpose.

    Attributes:
        code: Stable identifier, printed in brackets and safe to match in scripts.
        exit_code: Process exit status (1 a check failed, 2 wrong input, 3 component missing).
    """

    code = "E_DIFFERSEG"
    exit_code = 2


class InputError(DifferSegError):
    """An argument, image, array or data folder is not what the call needs."""

    code = "E_INPUT"


class ManifestError(DifferSegError):
    """A manifest is absent, of another schema, or has a wrong field."""

    code = "E_MANIFEST"


class ModelFileError(DifferSegError):
    """A model file is missing, truncated, not readable, or not one that differseg wrote."""

    code = "E_MODEL"


class CheckpointError(DifferSegError):
    """A checkpoint is unsafe to load or belongs to another network."""

    code = "E_CHECKPOINT"


class SourceError(DifferSegError):
    """A camera, video or image folder cannot be opened or holds no frames."""

    code = "E_SOURCE"


class CheckFailedError(DifferSegError):
    """A check ran and its verdict is no: parity, lint, or NVIDIA's parser or builder."""

    code = "E_CHECK"
    exit_code = 1


class MissingComponentError(DifferSegError):
    """A package or tool is not installed; the text names what to install."""

    code = "E_MISSING"
    exit_code = 3
