"""Which network, size and precision should fit a board at a frame rate: an estimate.

``boards`` holds figures with their sources, ``graphs`` the graphs that are judged, ``lifetimes``
and ``memory`` what they need of a board's memory, ``judge`` the verdicts and ``command`` the
command line.  The times are those of :mod:`differseg.bench.estimate`.
"""
