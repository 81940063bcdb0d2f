"""What a server does with its database beside storing batches: setup, checks, maintenance, the drain of the spool."""
