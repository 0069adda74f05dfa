"""Order of local work: a Fibonacci heap and the queues over it. Knows nothing of clocks, peers or processes."""

from __future__ import annotations

from p2pwf.queue.fibheap import FibonacciHeap, Handle, HeapMisuse
from p2pwf.queue.ready import Ready, ReadyQueue, WorkflowPriorityQueue

__all__ = ["FibonacciHeap", "Handle", "HeapMisuse", "Ready", "ReadyQueue", "WorkflowPriorityQueue"]
