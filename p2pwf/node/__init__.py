"""The node: composes engine, store, network and runner in one nursery. `control.daemon` runs it."""
