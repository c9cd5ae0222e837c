"""Scores of masks against the truth."""
