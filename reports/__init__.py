"""Published numbers as data, the claims audit, tables, figures, the site and the committed reference records.

What lives here: everything that turns records into something a person reads. Nothing here measures: numbers
come from ``published/*.yaml`` (the paper) and from records (``bench``), never from code. This package may
import ``bench``, ``baselines`` and ``ecp``; none of them may import it.
"""
