"""p2pwf: GitHub Actions workflow files run peer to peer, with no server and no GitHub API."""

__version__ = "0.1.0"
