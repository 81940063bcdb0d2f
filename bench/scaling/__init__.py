"""What servers, coordinator and nodes of a distributed database cost a row, and what follows for larger numbers."""
