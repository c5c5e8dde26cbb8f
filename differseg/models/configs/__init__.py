"""Settings and named configurations of every system, one module each, without torch.

Parameters and multiply-adds are recorded here, so that listing needs no torch; a test builds
every configuration and compares.
"""
