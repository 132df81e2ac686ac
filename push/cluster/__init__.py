"""Who is in the cluster: the registry (ZooKeeper or a lease in Redis), and the directory on it."""
