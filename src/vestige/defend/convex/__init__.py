"""Differentially private learning of linear models, whose proofs need a convex loss."""
