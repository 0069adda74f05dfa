"""The coordinator that needs no node: workflows and peers of one (folder, peer id), durable, without network.

Knows the ledger and a folder. What it knows of a workflow file is what the language says of it; it runs nothing.
"""
