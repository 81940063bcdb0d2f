"""Pages that show traffic: they ask queries as any client does, and render the answers on the server."""
