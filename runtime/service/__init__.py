"""A run as a service: systemd's notifications, a watchdog, restarts and structured logs.

``notify`` and ``watchdog`` live in the process that segments, ``restarts`` in the one that starts
it again, and ``logs`` in both.  Nothing here needs a package beyond the standard library.
"""
