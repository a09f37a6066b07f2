"""One training run. Import what you need from its modules; all of them need torch."""
