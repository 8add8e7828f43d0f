"""The peers: each file has builders that return one run for each direction."""
