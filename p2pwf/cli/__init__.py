"""The command line: a face of the control API. Never imports libp2p, and rich only to draw on a terminal."""
