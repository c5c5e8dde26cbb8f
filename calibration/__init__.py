"""INT8 calibration: calibration sets, Q/DQ placement and the mixed-precision search."""
