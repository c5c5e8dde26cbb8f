"""The parts of a training run, each on its own.

What a run is: ``options``, ``start`` (the weights of ``--init``), ``samples`` (what is learnt and
judged), ``precision`` (device and numbers).  How it learns: ``loop`` (a step), ``epochs``,
``optimizer`` (parameter groups and learning rate), ``norms`` (statistics of batch normalisation),
``averaging`` (of the weights), ``validation``.  What lasts: ``run_folder``, ``run_lock``,
``snapshot`` (atomic files with a run's whole state), ``environment``.  Beside them ``drawing``
(synthetic scenes ahead of the first step), ``progress`` (what the terminal shows) and
``interruption`` (a clean stop).  :mod:`differseg.train` puts them together.
"""
