"""Orders about members, through a node's admin port."""

import json

from . import web
from .wait import wait_until

ORDER_S = 60.0  # a node gives an order up earlier


def order(node, method, path, body=None):
    """The reply, whatever it is."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    return web.request(node.admin, method, path,
                       None if body is None else json.dumps(body),
                       headers, timeout=ORDER_S)


def address(node):
    return f"{web.HOST}:{node.peer}"


def add(node, newcomer, promote="auto", **more):
    """Order `node` to add the newcomer under its id."""
    return order(node, "POST", "/v1/members",
                 {"peer": address(newcomer), "id": newcomer.id,
                  "promote": promote, **more})


def remove(node, number, force=False):
    return order(node, "DELETE", f"/v1/members/{number}"
                 + ("?force=true" if force else ""))


def promote(node, number, force=False):
    return order(node, "POST", f"/v1/members/{number}/promote",
                 {"force": True} if force else None)


def replace(node, old, newcomer):
    return order(node, "POST", "/v1/members/replace",
                 {"old": old, "peer": address(newcomer), "new": newcomer.id})


def update(node, number, peer):
    return order(node, "PUT", f"/v1/members/{number}", {"peer": peer})


def lead(node, number=None):
    return order(node, "POST", "/v1/leader",
                 {"to": number} if number is not None else None)


def known(node):
    """{id: member} as this node knows them."""
    members = order(node, "GET", "/v1/members").json()["members"]
    return {m["id"]: m for m in members}


def wait_voters(node, wanted, seconds=30.0):
    """Until these are the members that the node knows, all of them voters."""
    def there():
        try:
            roles = {i: m["role"] for i, m in known(node).items()}
        except (OSError, ValueError, KeyError):
            return False
        return roles == {i: "voter" for i in wanted}
    wait_until(f"node {node.id} sees the voters {wanted}", there, seconds)


def ended(node, seconds=30.0):
    """The exit code of a node that ends by itself."""
    code = wait_until(f"node {node.id} ends", lambda: (
        None if node.process.poll() is None else [node.process.poll()]),
        seconds)[0]
    node.process = None
    return code
