"""Values and bytes: ids, the DAG-CBOR codec, event types, signatures. Knows nothing of state, time or I/O."""
