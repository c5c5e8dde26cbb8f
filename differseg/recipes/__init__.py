"""Recipes: files that say how a network is trained (``differseg train --recipe``).

The TOML files here are those of the systems' authors, as far as their papers and code say;
``reading`` reads these and anyone's own.
"""
