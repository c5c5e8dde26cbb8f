"""INT8: calibration sets and their audit, Q/DQ placement, scales, and the search of what stays.

Everything is imported from its module, so that importing this package loads nothing::

    from differseg.calibration.quantize import quantize

    quantize("model.onnx", "images", "model.int8.onnx", search=True, max_drop=0.005)
"""
