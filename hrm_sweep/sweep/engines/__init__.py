"""Engines only start workers; the storage is the single truth of what they do."""
