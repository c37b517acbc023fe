"""oslo.db asks a database whether it is there whenever it takes a connection from its pool: with
each query in the most cases, which doubles them. This module lets it ask about connections that
nobody has used for a second.
"""
import time

from oslo_db.sqlalchemy import engines

PATIENCE = 1  # in seconds
_ping = engines._connect_ping_listener


def ping(connection, branch):
    now = time.monotonic()
    if now - connection.info.get('used', -PATIENCE) > PATIENCE:
        _ping(connection, branch)
    connection.info['used'] = now


engines._connect_ping_listener = ping
