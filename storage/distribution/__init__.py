"""Databases that are distributed over several nodes by Citus: which node has which rows, and work on single shards."""
