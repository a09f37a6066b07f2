"""A checkpoint on puzzles. Import what you need from its modules: `selection` needs no torch, the others do."""
