"""Networks of whole nodes in one process, on a virtual clock: node, store and libp2p as shipped, under seeded faults.

What is real: `p2pwf.node` (its loop, SQLite and blobs on a file system, API, planner, policy) and `p2pwf.net` (libp2p
with Noise, Yamux, GossipSub, and our guards). What is simulated: the operating system's sockets (`sockets`), its
clocks, threads and randomness (`machine`), and the runner (`runner`), whose jobs take drawn times and start no process.
The control socket and its HTTP are left out: the simulated user calls the API behind them.
"""
