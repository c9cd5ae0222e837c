"""Dense CRF and its regularised loss."""
