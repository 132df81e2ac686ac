"""The form of frames on each kind of carrier: one object a carrier, shared by its connections."""
