"""Labelled image data sets by path: layouts, completeness, preprocessing. Nothing here downloads or runs models."""
