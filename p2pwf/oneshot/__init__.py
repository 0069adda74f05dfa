"""Runs one workflow on this machine with the node's own engine and runner: one peer, nothing kept, no network.

    request = RunRequest(file=Path("ci.yml"), tell=print)
    report = trio.run(run_workflow, request)      # {"conclusion": …, "jobs": {…}}

Imports nothing by itself: each module says what it costs.
"""
