"""Bare libmicrohttpd: the most that httpd could reach (ceiling.c)."""

import os
import subprocess

from . import settings
from .system import System, port_answers

from lib import process
from lib.cluster import free_port
from lib.wait import wait_until


class Ceiling(System):
    name = "ceiling"
    api = "plain"
    needs_keys = False

    def __init__(self, value_bytes=256):
        self.value_bytes = value_bytes
        self.port = free_port()
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [*process.DIES_WITH_US, os.path.join(settings.BIN, "ceiling"),
             str(self.port), str(self.value_bytes)],
            stdin=subprocess.DEVNULL)
        wait_until("the ceiling listens", lambda: port_answers(self.port))

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def port_of(self, operation):
        return self.port

    def asked_as(self, operation):
        return "get" if operation == "stale" else super().asked_as(operation)

    def pids(self):
        return {1: {"ceiling": self.process.pid}}

    def leader(self):
        return 1
