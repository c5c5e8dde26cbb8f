"""``differseg bench``: interleaved measurements, one process per engine, bursts taken in turn.

And the roofline: what the layers of a file compute and move (:mod:`~differseg.bench.layer_costs`),
what a device can do (:mod:`~differseg.bench.devices`, :mod:`~differseg.bench.machine_peak`), and
what follows for machines that are here (:mod:`~differseg.bench.layer_times`) or are not
(:mod:`~differseg.bench.estimate`).
"""
