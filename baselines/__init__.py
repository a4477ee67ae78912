"""One file per inference framework behind one small protocol (:mod:`baselines.base`)."""
