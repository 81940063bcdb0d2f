"""Faults in real processes under load, and what became of every batch: `make faults`, `make soak`."""
