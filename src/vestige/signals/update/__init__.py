"""Signals of models that were updated: how a record's answers changed from one snapshot to the next."""
