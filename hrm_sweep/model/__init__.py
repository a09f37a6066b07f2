"""The Hierarchical Reasoning Model: layers, block, hrm, losses, checkpoint. Knows no data, runs, or studies."""
