"""Data sets by their published layouts: ``--data mfnet:DIR`` reads the files as they are released.

What lives here: :mod:`~differseg.data.datasets.layout` (path templates, and what they find on
disk), :mod:`~differseg.data.datasets.indexing` (the samples of a split, or one line that says what
is missing), :mod:`~differseg.data.datasets.decoders` (file to arrays),
:mod:`~differseg.data.datasets.definition` (what is stated of a data set),
:mod:`~differseg.data.datasets.published` (the reader),
:mod:`~differseg.data.datasets.registry` (from name to data set),
:mod:`~differseg.data.datasets.training` (what may be learnt from),
:mod:`~differseg.data.datasets.judging` (what a network is judged on),
:mod:`~differseg.data.datasets.command` (``differseg datasets``), and one module a data set or
family of them.
"""
