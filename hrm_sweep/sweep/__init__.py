"""Studies: the search space, the exact budget, a trial's life, pruners and engines. DESIGN contracts 3 and 4."""
