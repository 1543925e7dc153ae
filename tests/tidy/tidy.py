#!/usr/bin/python3
"""Style as a test: rules about the whole repository that neither a compiler
nor a formatter checks.

    tidy.py [ROOT]

Prints each breach as path:line: what, and then 'N passed, N failed', counted
in rules; the exit code is 1 if one failed.  A rule is a function over the
files that yields breaches; RULES at the end lists them."""

import os
import re
import subprocess
import sys

FOLDERS = {"cmd", "raftd", "kvd", "httpd", "proto", "base", "tests", "deploy"}
COLUMNS_MAX = 80
TAB = 8
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800

# Who may include what, by the start of the header's name.
OWNED = {
    "nng/": ("proto/link",),
    "microhttpd.h": ("httpd/",),
    "lmdb.h": ("kvd/engine_lmdb.c",),
    "leveldb/": ("kvd/engine_leveldb.c",),
    "jansson.h": ("httpd/", "cmd/metcdctl/"),
    "curl/": ("cmd/metcdctl/",),
    "xxh": ("base/hash.c",),
    "systemd/": ("base/daemon.c", "base/inherit.c", "base/watchdog.c"),
}
# Folders of our own that a folder may include, besides itself.
MAY_INCLUDE = {
    "base/": (),
    "proto/": ("base/",),
    "raftd/raft/": ("base/",),
    "raftd/": ("base/", "proto/"),
    "kvd/": ("base/", "proto/"),
    "httpd/": ("base/", "proto/"),
    "cmd/": ("base/", "proto/"),
}
# The Raft core: what it may know of base and of libc...
CORE = "raftd/raft/"
CORE_HEADERS = {
    "base/blob.h", "base/buf.h", "base/hash.h", "base/mem.h",
    "assert.h", "errno.h", "inttypes.h", "limits.h", "stdarg.h", "stdbool.h",
    "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h",
}
# ... and what it may not call, as it has no clock, file, socket, thread or
# source of chance but the one it is given.
CORE_CALLS = re.compile(
    r"\b(time|gettimeofday|clock_gettime|clock|timerfd_\w+|nanosleep|usleep|"
    r"sleep|open|openat|creat|close|read|write|pread|pwrite|fsync|fdatasync|"
    r"fopen|fclose|fread|fwrite|fprintf|printf|puts|fputs|fflush|perror|"
    r"remove|rename|unlink|mkdir|opendir|socket|connect|bind|listen|accept|"
    r"send|sendto|sendmsg|recv|recvfrom|recvmsg|epoll_\w+|eventfd|poll|"
    r"select|rand|random|srand|srandom|drand48|getrandom|arc4random\w*|"
    r"getenv|fork|exec\w*|system|pthread_\w+|thrd_\w+|mono_now|log_(?:error|"
    r"warn|info|debug)x?|daemon_\w+|exit|abort)\s*\(")

# Calls that do not check their bounds, or give way to the locale.
BANNED_CALLS = re.compile(
    r"\b(gets|strcpy|strcat|sprintf|vsprintf|atoi|atol|atoll|setlocale|"
    r"alloca|tmpnam|mktemp)\s*\(")

# Written so that this file does not contain them itself.
BANNED_WORDS = [re.compile(p, re.I) for p in (
    r"\b[T]ODO\b", r"\b[F]IXME\b", r"\b[X]XX\b", r"/[w]ork/", r"/[t]mp/brief",
    r"\b[c]laude\b", r"[a]nthropic", r"\b[c]hatgpt\b", r"\b[o]penai\b",
    r"\b[c]opilot\b", r"[A]I[- ]generated", r"\bas an [A]I\b",
    r"(?<!upstream )\b[i]ssue #?[0-9]", r"\b[l]anguage model\b",
    r"\b[D]ESIGN\.md\b", r"\b[S]TYLE\.md\b", r"\b[L]IBRARIES\.md\b")]


class Files:
    """The repository's text files: {path: [line, ...]}."""

    def __init__(self, texts):
        self.lines = {p: t.split("\n") for p, t in sorted(texts.items())}

    @classmethod
    def of(cls, root):
        texts = {}
        for path in cls.names(root):
            try:
                with open(os.path.join(root, path), encoding="utf-8") as f:
                    texts[path] = f.read()
            except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
                continue  # data, or removed but not yet committed
        return cls(texts)

    @staticmethod
    def names(root):
        """Tracked files and new ones; without git, all that are not hidden
        or made by the build."""
        git = subprocess.run(
            ["git", "-C", root, "ls-files", "-coz", "--exclude-standard"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        if git.returncode == 0:
            return [n for n in git.stdout.decode().split("\0") if n]
        made = {"bin", "build", "metcd.data", "cluster.data", "__pycache__"}
        found = []
        for base, folders, names in os.walk(root):
            folders[:] = [f for f in folders
                          if f not in made and not f.startswith(".")]
            found += [os.path.relpath(os.path.join(base, n), root)
                      for n in names]
        return found

    def c(self, *prefixes):
        """C sources and headers, of the product or below prefixes."""
        return {p: t for p, t in self.lines.items() if p.endswith((".c", ".h"))
                and (not prefixes or p.startswith(prefixes))}

    def product(self):
        return {p: t for p, t in self.c().items()
                if not p.startswith("tests/")}

    def code(self):
        return {p: t for p, t in self.lines.items()
                if p.endswith((".c", ".h", ".py"))
                or (t and t[0].startswith("#!"))}


def without_comments(lines):
    """The lines with comments and the contents of strings blanked out."""
    text = "\n".join(lines)
    pattern = re.compile(
        r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(m):
        inner = re.sub(r"[^\n]", " ", m.group(0))
        return inner if m.group(0)[0] == "/" else '"' + inner[1:-1] + '"'
    return pattern.sub(blank, text).split("\n")


def includes(lines):
    for number, line in enumerate(lines, 1):
        m = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if m:
            yield number, m.group(1)


def functions(lines):
    """(name, line of its name, lines of its body, comment before it): with
    the return type on its own line a definition begins at the margin."""
    name = at = start = None
    for number, line in enumerate(lines, 1):
        m = re.match(r"([A-Za-z_]\w*)\(", line)
        if m and start is None:
            name, at = m.group(1), number
        elif line == "{" and name is not None and start is None:
            start = number
        elif line.startswith("}") and start is not None:
            yield name, at, number - start - 1, comment_before(lines, at - 1)
            name = start = None
        elif line.endswith(";") and start is None:
            name = None


def comment_before(lines, index):
    """The comment that ends just above the definition whose name stands in
    lines[index]."""
    index -= 1
    while index >= 0 and lines[index] and not lines[index].endswith("*/"):
        if lines[index].startswith("}"):
            return ""
        index -= 1  # return type, attributes
    if index < 0 or not lines[index].endswith("*/"):
        return ""
    end = index
    while index > 0 and not lines[index].lstrip().startswith("/*"):
        index -= 1
    return "\n".join(lines[index:end + 1])


def folder_of(path, table):
    """The longest entry of table that path is in, or None."""
    fits = [f for f in table if path.startswith(f)]
    return max(fits, key=len) if fits else None


# --- rules ---

def libraries_are_known_only_to_their_owner(files):
    for path, lines in files.product().items():
        for number, header in includes(lines):
            for library, owners in OWNED.items():
                if header.startswith(library) and \
                        not path.startswith(owners):
                    yield path, number, \
                        f"<{header}> belongs to {', '.join(owners)} alone"


def folders_include_only_what_they_may(files):
    for path, lines in files.product().items():
        own = folder_of(path, MAY_INCLUDE)
        if own is None:
            continue
        for number, header in includes(lines):
            if folder_of(header, MAY_INCLUDE) is None:
                continue  # the system's
            if not header.startswith((own, *MAY_INCLUDE[own])):
                yield path, number, f"{own} may not include {header}"


def programs_do_not_include_each_other(files):
    for path, lines in files.c("cmd/").items():
        program = "/".join(path.split("/")[:2]) + "/"
        for number, header in includes(lines):
            if header.startswith("cmd/") and not header.startswith(program):
                yield path, number, f"{header} is another program's"


def the_raft_core_knows_no_outside(files):
    for path, lines in files.c(CORE).items():
        for number, header in includes(lines):
            if header not in CORE_HEADERS and not header.startswith(CORE):
                yield path, number, f"the core may not include {header}"
        for number, line in enumerate(without_comments(lines), 1):
            for m in CORE_CALLS.finditer(line):
                before = line[:m.start()].rstrip()
                if not before.endswith(("->", ".")):  # a callback it got
                    yield path, number, f"the core may not call {m.group(1)}"


def the_raft_core_has_no_global_state(files):
    for path, lines in files.c(CORE).items():
        for number, line in enumerate(without_comments(lines), 1):
            if re.match(r"(?!typedef|extern|(struct|union|enum) \w+ *[;{])"
                        r"[a-z][\w\s*]*\b\w+(\[[^]]*\])*\s*(=|;)", line) and \
                    not re.search(r"\bconst\b", line):
                yield path, number, "a variable outside of functions"


def every_top_level_folder_has_its_place(files):
    for folder in sorted({p.split("/")[0] for p in files.lines if "/" in p}):
        if folder not in FOLDERS and not folder.startswith("."):
            yield folder, 0, f"not one of {', '.join(sorted(FOLDERS))}"


def lines_fit_into_80_columns(files):
    for path, lines in files.code().items():
        if not path.endswith((".c", ".h", ".py")):
            continue
        for number, line in enumerate(lines, 1):
            width = len(line.expandtabs(TAB))
            if width > COLUMNS_MAX:
                yield path, number, f"{width} columns"


def long_functions_say_why(files):
    for path, lines in files.c().items():
        if not path.endswith(".c"):
            continue
        for name, number, length, comment in functions(lines):
            if length > FUNCTION_LINES_MAX and not re.search(
                    r"\blong\b", comment, re.I):
                yield path, number, f"{name}: {length} lines; split it, or " \
                    'say "Long: ..." and why in the comment before it'


def files_stay_below_800_lines(files):
    for path, lines in files.code().items():
        if len(lines) > FILE_LINES_MAX:
            yield path, 0, f"{len(lines)} lines"


def files_open_with_what_they_are(files):
    for path, lines in files.c().items():
        if not lines[0].startswith("/*"):
            yield path, 1, "no comment that says what this file is"


def headers_are_guarded_by_their_path(files):
    for path, lines in files.c().items():
        if not path.endswith(".h"):
            continue
        guard = re.sub(r"[/.-]", "_", path).upper()
        parts = path.split("/")
        accepted = {re.sub(r"[/.-]", "_", "/".join(parts[i:])).upper()
                    for i in range(max(1, len(parts) - 1))}
        found = [re.match(r"#ifndef (\w+)", x) for x in lines]
        names = [m.group(1) for m in found if m]
        if not names or names[0] not in accepted:
            yield path, 0, f"the guard should be {guard}"


def definitions_start_at_the_margin(files):
    """`grep ^name` finds a definition."""
    for path, lines in files.c().items():
        code = without_comments(lines)
        for number, line in enumerate(code[:-1], 1):
            if re.match(r"(static |extern )?[a-z_][\w\s]*[\s*]\w+\([^;]*\)$",
                        line) and code[number] == "{":
                yield path, number, "the return type goes on its own line"


def structs_are_not_hidden_by_typedefs(files):
    for path, lines in files.c().items():
        for number, line in enumerate(without_comments(lines), 1):
            if re.match(r"\s*typedef\s+(struct|union|enum)\b(?!.*\()", line):
                yield path, number, "a typedef of a struct"


def asserts_stay_on(files):
    off = re.compile(r"-D\s*NDEBUG|#\s*define\s+NDEBUG")
    for path, lines in files.lines.items():
        if path.startswith("tests/tidy/"):
            continue
        for number, line in enumerate(lines, 1):
            if off.search(line):
                yield path, number, "NDEBUG is never set"


def every_limit_is_used(files):
    limits = "proto/limits.h"
    used = set()
    for path, lines in files.product().items():
        if path != limits:
            used.update(re.findall(r"\w+", "\n".join(without_comments(lines))))
    for number, line in enumerate(files.lines.get(limits, []), 1):
        m = re.match(r"#define (\w+) ", line)
        if m and m.group(1) not in used:
            yield limits, number, f"nothing uses {m.group(1)}"


def calls_without_bounds_are_not_made(files):
    for path, lines in files.product().items():
        for number, line in enumerate(without_comments(lines), 1):
            m = BANNED_CALLS.search(line)
            if m:
                yield path, number, f"{m.group(1)} is not used here"


def no_file_has_words_that_do_not_belong(files):
    for path, lines in files.lines.items():
        for number, line in enumerate(lines, 1):
            for word in BANNED_WORDS:
                m = word.search(line)
                if m:
                    yield path, number, f'"{m.group(0)}" does not belong here'


def lines_end_clean(files):
    for path, lines in files.code().items():
        for number, line in enumerate(lines, 1):
            if line != line.rstrip():
                yield path, number, "blanks at the end"
        if lines[-1] != "" or (len(lines) > 2 and lines[-2] == ""):
            yield path, len(lines), "a file ends with one newline"


def the_flow_of_a_write_has_eight_steps(files):
    """`grep -rn 'FLOW [1-8]'` prints the path of a write, each step once."""
    found = {}
    for path, lines in files.product().items():
        for number, line in enumerate(lines, 1):
            for step in re.findall(r"\bFLOW ([0-9]+)\b", line):
                found.setdefault(int(step), []).append((path, number))
    for step in range(1, 9):
        places = found.pop(step, [])
        if len(places) != 1:
            path, number = places[1] if places else ("ARCHITECTURE.md", 0)
            yield path, number, f"FLOW {step} stands in {len(places)} places"
    for step, places in found.items():
        yield (*places[0], f"there is no FLOW {step}")


RULES = [
    libraries_are_known_only_to_their_owner,
    folders_include_only_what_they_may,
    programs_do_not_include_each_other,
    the_raft_core_knows_no_outside,
    the_raft_core_has_no_global_state,
    every_top_level_folder_has_its_place,
    lines_fit_into_80_columns,
    long_functions_say_why,
    files_stay_below_800_lines,
    files_open_with_what_they_are,
    headers_are_guarded_by_their_path,
    definitions_start_at_the_margin,
    structs_are_not_hidden_by_typedefs,
    asserts_stay_on,
    every_limit_is_used,
    calls_without_bounds_are_not_made,
    no_file_has_words_that_do_not_belong,
    lines_end_clean,
    the_flow_of_a_write_has_eight_steps,
]


def main():
    here = os.path.dirname(os.path.realpath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "../..")
    files = Files.of(root)
    failed = 0
    for rule in RULES:
        breaches = list(rule(files))
        failed += bool(breaches)
        for path, number, what in breaches:
            print(f"{path}:{number}: {what}  [{rule.__name__}]")
    print(f"{len(RULES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
