"""Data sets, weak labels, augmentation."""
