"""One training run. Import what you need from its modules: `schedule` needs no torch, the others do."""
