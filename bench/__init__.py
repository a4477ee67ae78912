"""The harness: what is measured, how, on which device, and the records that remain.

May import ``baselines`` and ``ecp``, never ``reports``. torch only in the model exporters (``bench.models``).
The flow: options -> plan -> one fresh worker process per block -> records -> cells -> table or JSON.
"""
