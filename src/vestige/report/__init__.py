"""Renderers: each reads an AuditLog and returns text. They measure nothing, so any can be redone at any time."""
