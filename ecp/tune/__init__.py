"""Schedule search: which register tile, unrolling and cut are fastest for a model on this very device.

A search is bounded in time, resumable, and rejects schedules with wrong results. Its answer is kept in the
user's cache, keyed by device, driver, model, precision and the compiler's own sources.
"""
