"""The node: composes engine, store, network and runner in one nursery. `python -m p2pwf.node` runs it."""
