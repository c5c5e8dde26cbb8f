"""The parts of a training run, each on its own.

What a run is: ``options``, ``learning`` (what recipe files say beside them), ``start`` (the weights
of ``--init``), ``samples`` (what is learnt and judged), ``precision`` (device and numbers),
``choices`` (what is decided for the user, and what a run is known by), ``assembly`` (its parts).
How it learns: ``loop`` (a step) by its ``recipe``, ``objective`` and ``loss_terms``, ``epochs``,
``optimizer`` (parameter groups and learning rate) and ``adaxw``, ``norms`` (statistics of batch
normalisation), ``averaging`` (of the weights), ``distillation`` (from a teacher), ``processes``
(that learn together), ``compilation``, ``determinism``, ``validation``.  What lasts:
``run_folder``, ``run_lock``, ``snapshot`` (atomic files with a run's whole state), ``tables``,
``events`` (for TensorBoard), ``environment``.  Beside them ``drawing`` (synthetic scenes ahead of
the first step), ``announcement`` and ``progress`` (what the terminal shows), ``memory`` (where it
does not suffice) and ``interruption`` (a clean stop).  :mod:`differseg.train` puts them together.
"""
