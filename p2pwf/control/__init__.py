"""The control API: HTTP and JSON on a Unix socket, served by the node and spoken by every face."""
