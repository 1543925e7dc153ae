"""What can be loaded: its processes, its ports, its way of asking."""

import socket

from . import settings

# What the tables call the operations, in their order.
OPERATIONS = {"put": "PUT, leader", "put-follower": "PUT, follower",
              "get": "GET, linearizable", "stale": "GET, stale",
              "mix90": "90 % GET, 10 % PUT"}


def port_answers(port):
    try:
        socket.create_connection((settings.HOST, port), 1).close()
    except OSError:
        return False
    return True


class System:
    """name; api: as in wrk.lua; operations: which of OPERATIONS it has;
    needs_keys: GET of a key that was not put fails."""

    name = None
    api = None
    operations = tuple(OPERATIONS)
    needs_keys = True

    def start(self):
        """Start all nodes and wait until they serve."""
        raise NotImplementedError

    def stop(self):
        raise NotImplementedError

    def port_of(self, operation):
        """The port to load: the leader's, or a follower's for
        put-follower."""
        raise NotImplementedError

    def pids(self):
        """{node: {program: pid}}"""
        raise NotImplementedError

    def leader(self):
        """The number of the node that leads now."""
        raise NotImplementedError

    def asked_as(self, operation):
        """The word of wrk.lua for an operation."""
        return "put" if operation == "put-follower" else operation

    def address_of(self, operation):
        return f"{settings.HOST}:{self.port_of(operation)}"

    def all_pids(self):
        return [pid for node in self.pids().values() for pid in node.values()]
