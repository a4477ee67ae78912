"""Index algebra: how layout operators disappear.

``expr``: integer index expressions in linear normal form with bounds, the general mechanism;
``view``: mixed-radix digit views, the closed form that covers nearly every chain a model has;
``maps``: what each transformative operator does to coordinates, forward and backward.
Pure integer mathematics: nothing here knows graphs, devices or C.
"""
