"""Defences of a model's training that attacks alone can judge."""
