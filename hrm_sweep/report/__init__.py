"""What people see of runs and studies. Draws, decides nothing."""
