"""What keeps a job apart from the machine: probes, the plan of a job, and what carries it out in its supervisor.

`probe` finds the levels that work here, by running them; `keeper` lends a job what it takes (a user, a group of
processes, folders) and makes its plan; `confine` carries the plan out, in the job's supervisor and between a step's
fork and its exec. The levels by name and rank are in `p2pwf.isolation`.
"""
