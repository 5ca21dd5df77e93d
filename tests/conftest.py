"""Settings of the whole suite."""

from hypothesis import settings

# A busy machine is slow at random, which says nothing about the code.
settings.register_profile("vestige", deadline=None)
settings.load_profile("vestige")
