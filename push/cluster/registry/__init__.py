"""The registry of the cluster: ZooKeeper, or a lease in Redis."""
