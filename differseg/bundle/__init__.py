"""One file to copy to a board: a model with all that vouches for it, and what to build beside it.

``index`` says what is inside, ``layout`` where every byte of the file stands, ``writing``,
``reading`` and ``unpacking`` do the work, and ``command`` is the command line.  Reading and
unpacking need the standard library alone, but for Ed25519 keys.
"""
