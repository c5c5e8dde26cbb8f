"""INT8: calibration sets and their audit, Q/DQ placement, scales, and the search of what stays."""
