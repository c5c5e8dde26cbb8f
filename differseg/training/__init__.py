"""The parts of a training run, each on its own.

``optimizer`` (parameter groups and learning rate), ``averaging`` (exponential moving average of
the weights), ``snapshot`` (atomic files that hold a run's whole state), ``run_folder`` (what lies
in a run's folder), ``loop`` (the steps themselves), ``validation``, ``progress`` (what the
terminal shows) and ``interruption`` (a clean stop).  :mod:`differseg.train` puts them together.
"""
