"""Renderers: each reads an AuditLog and returns text. They measure nothing, so that a report can be drawn again at any time."""
