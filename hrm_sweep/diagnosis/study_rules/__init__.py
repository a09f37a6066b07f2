"""The rules that judge a study, one file a family; registry.catalogue finds every module."""
