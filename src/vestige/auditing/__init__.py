"""The audit: the only package that knows every stage."""
