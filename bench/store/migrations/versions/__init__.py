"""One file per schema revision, numbered; a released one is never edited."""
