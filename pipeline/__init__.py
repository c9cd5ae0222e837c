"""Cheap labels to pseudo-masks to a segmentation network, as one staged pipeline."""
