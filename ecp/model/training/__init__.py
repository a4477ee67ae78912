"""Fine-tuning of dense and ECP Vision Transformers: configuration, data, one run, and a study of many runs.

Data sets are read from folders that the user names and never stored here; what is written are checkpoints,
learning curves and records.
"""
