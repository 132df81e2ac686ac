"""What runs: settings, options, the embedded Redis, keys, certificates, and one plugin per daemon.

The only folder that names the global reactor; everything below is handed what it needs.
"""
