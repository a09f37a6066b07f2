"""The rules, one file a family. Nothing needs to be listed here: registry.all_rules finds every module."""
