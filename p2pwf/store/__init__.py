"""Events in SQLite, blobs by content, the data folder's lock. Knows disks; no network, no meaning."""
