"""Datasets, joint transforms and synthetic RGB-thermal scenes."""
