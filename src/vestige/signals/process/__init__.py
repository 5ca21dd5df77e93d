"""Signals of a model's training: what it, or a student of it, says of a record epoch after epoch."""
