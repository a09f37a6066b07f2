"""The Hierarchical Reasoning Model: layers, block, hrm, losses, checkpoint. Knows no data, files of a run, or studies."""
