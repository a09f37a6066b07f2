"""Sweep and diagnose the Hierarchical Reasoning Model."""
