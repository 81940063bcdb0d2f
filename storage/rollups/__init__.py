"""Rollups: sums over rows by group and time, kept up from new rows in the background, and read in place of rows."""
