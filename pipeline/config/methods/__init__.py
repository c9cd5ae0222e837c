"""One settings model per method."""
