"""Confirmation: what a search found is trained again on fresh seeds, raced, and measured on unseen puzzles."""
