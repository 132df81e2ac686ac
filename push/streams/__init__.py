"""The one idea: ordered logs with live channels, and cursors in them.

`publish` appends and announces in one call, `hub` follows the channels and repairs their gaps from
the log, `log` reads pages, `cursors` stores how far each device is.
"""
