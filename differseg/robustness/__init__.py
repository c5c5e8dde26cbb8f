"""How a network's figures fall when the cameras get worse: corruptions, their rows, the report.

``corruption.py`` says what a corruption is; ``lost.py``, ``registration.py``, ``optics.py``,
``light.py``, ``sensors.py`` hold them by cause, ``suite.py`` lists them with their levels.
``command.py`` is ``differseg robustness``.
"""
