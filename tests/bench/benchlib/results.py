"""RESULTS.md: a section per measurement, replaced by the next one."""

import os
import re

from . import machine, settings

PATH = os.path.join(settings.HERE, "RESULTS.md")
HEAD = """# Results

Written by the commands named in each section; [README.md](README.md) says \
what they do.
"""


def write(title, command, body):
    """Print the section and put it into RESULTS.md (RESULTS= names another
    file) in place of the one with the same title."""
    section = (f"## {title}\n\n    {command}\n\n{machine.describe()}\n\n"
               f"{body.strip()}\n")
    print("\n" + section, flush=True)
    path = os.environ.get("RESULTS") or PATH
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read()
    except FileNotFoundError:
        text = HEAD
    parts = re.split(r"(?m)^(?=## )", text)
    parts = [p.rstrip() + "\n" for p in parts]
    for i, part in enumerate(parts):
        if part.split("\n", 1)[0] == f"## {title}":
            parts[i] = section
            break
    else:
        parts.append(section)
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write("\n".join(parts))
    os.replace(path + ".new", path)


def command_line(target):
    """What was typed, as far as the environment tells."""
    told = [f"{name}={value!r}" if " " in value else f"{name}={value}"
            for name in ("ROUNDS", "SECONDS", "KEYS", "BYTES", "CONNECTIONS",
                         "SYSTEMS", "OPS", "ENGINES", "PARTS", "NODES",
                         "STOP_ROUNDS", "FREEZE_ROUNDS", "SIZES", "IDLE")
            if (value := os.environ.get(name))]
    return " ".join(["make", target, *told])
