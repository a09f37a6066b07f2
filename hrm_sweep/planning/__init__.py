"""What can be said about a run before it starts. Nothing here needs torch."""
