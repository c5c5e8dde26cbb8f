"""``differseg bench``: interleaved measurements, one process per engine, bursts taken in turn."""
