"""Defences of a model's answers."""
