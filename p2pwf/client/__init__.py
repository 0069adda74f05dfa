"""The Python API over a running node: the coordinator's methods, spoken over the control socket.

`blocking` and `nursery` send and wait; what is asked, and what an answer means, stands once, in `talks`. Never imports
libp2p; knows no node but by its socket.
"""
