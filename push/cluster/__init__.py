"""The daemons of a cluster: the registry (in ZooKeeper or Redis), and the directory on it."""
