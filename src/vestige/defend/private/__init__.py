"""Differentially private training and answering, and the accounts that go with it."""
