"""Who may send, and how much: API keys, rate limits, and the pacing of refusals."""
