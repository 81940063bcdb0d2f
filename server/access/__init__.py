"""Who may send and read, and how much: API keys, sessions, rate limits, and the pacing of refusals."""
