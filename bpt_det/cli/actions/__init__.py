"""Work of the larger commands. It takes torch, so it is imported once the arguments are right."""
