"""Backbones, decoders, heads, weights."""
