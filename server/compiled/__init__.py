"""Batches checked and encoded by compiled code, beside the pure Python, which stays the reference.

Whatever the compiled code cannot vouch for, it leaves to the reference, which alone words errors.
"""
