"""Every rule of tidy.py must be able to fail, and says where."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import tidy  # noqa: E402  (needs the path above)

LONG_BODY = "{\n" + "\tx();\n" * 71 + "}\n"
FLOW = "".join(f"/* FLOW {n} */\n" for n in range(1, 9))

# rule: (a repository that keeps it, one that breaks it)
CASES = {
    tidy.libraries_are_known_only_to_their_owner: (
        {"proto/link.c": "#include <nng/nng.h>\n"},
        {"raftd/peer.c": "#include <nng/nng.h>\n"}),
    tidy.folders_include_only_what_they_may: (
        {"kvd/a.c": '#include "base/buf.h"\n#include "proto/wire.h"\n',
         "raftd/ready.c": '#include "raftd/raft/raft.h"\n'},
        {"proto/a.c": '#include "kvd/engine.h"\n'}),
    tidy.programs_do_not_include_each_other: (
        {"cmd/metcd/a.c": '#include "cmd/metcd/b.h"\n'},
        {"cmd/metcd/a.c": '#include "cmd/metcdctl/b.h"\n'}),
    tidy.the_raft_core_knows_no_outside: (
        {"raftd/raft/a.c": "/* time() is not ours */\n"
                           "\tn = r->config.random(arg, 3);\n"
                           "#include <string.h>\n"},
        {"raftd/raft/a.c": "\tn = random();\n"}),
    tidy.the_raft_core_has_no_global_state: (
        {"raftd/raft/a.c": "static const int table[] = {1};\nstruct raft;\n"
                           "static int\nf(void)\n{\n\tint x = 1;\n}\n"},
        {"raftd/raft/a.c": "static int count = 0;\n"}),
    tidy.every_top_level_folder_has_its_place: (
        {"base/a.c": "", ".ci/run": ""}, {"util/a.c": ""}),
    tidy.lines_fit_into_80_columns: (
        {"base/a.c": "\t" * 9 + "x" * 8 + "\n"},
        {"base/a.c": "\t" * 9 + "x" * 9 + "\n"}),
    tidy.long_functions_say_why: (
        {"base/a.c": "/* Long: a table. */\nstatic int\nf(void)\n" + LONG_BODY},
        {"base/a.c": "/* A table. */\nstatic int\nf(void)\n" + LONG_BODY}),
    tidy.files_stay_below_800_lines: (
        {"base/a.c": "\n" * 799}, {"base/a.c": "\n" * 801}),
    tidy.files_open_with_what_they_are: (
        {"base/a.c": "/* A. */\n"}, {"base/a.c": "#include <a.h>\n"}),
    tidy.headers_are_guarded_by_their_path: (
        {"base/a.h": "#ifndef BASE_A_H\n"}, {"base/a.h": "#ifndef A_H\n"}),
    tidy.definitions_start_at_the_margin: (
        {"base/a.c": "static int\nf(void)\n{\n}\n"},
        {"base/a.c": "static int f(void)\n{\n}\n"}),
    tidy.structs_are_not_hidden_by_typedefs: (
        {"base/a.h": "typedef struct a *fn(int x);\n"},
        {"base/a.h": "typedef struct a a_t;\n"}),
    tidy.asserts_stay_on: (
        {"Makefile": "CFLAGS = -O2\n"}, {"Makefile": "CFLAGS = -DNDEBUG\n"}),
    tidy.every_limit_is_used: (
        {"proto/limits.h": "#define A_MAX 1u\n", "kvd/a.c": "x = A_MAX;\n"},
        {"proto/limits.h": "#define A_MAX 1u\n", "kvd/a.c": "/* A_MAX */\n"}),
    tidy.calls_without_bounds_are_not_made: (
        {"base/a.c": '\tsnprintf(a, 9, "strcpy()");\n'},
        {"base/a.c": "\tstrcpy(a, b);\n"}),
    tidy.no_file_has_words_that_do_not_belong: (
        {"README.md": "a helper thread\n"}, {"README.md": "TO" + "DO: x\n"}),
    tidy.lines_end_clean: (
        {"base/a.c": "x;\n"}, {"base/a.c": "x; \n"}),
    tidy.the_flow_of_a_write_has_eight_steps: (
        {"raftd/a.c": FLOW}, {"raftd/a.c": FLOW + "/* FLOW 3 */\n"}),
}


@pytest.mark.parametrize("rule", tidy.RULES, ids=lambda r: r.__name__)
def test_a_rule_lets_good_files_pass_and_names_bad_ones(rule):
    good, bad = CASES[rule]
    assert list(rule(tidy.Files(good))) == []
    breaches = list(rule(tidy.Files(bad)))
    assert len(breaches) == 1
    assert any(path.startswith(breaches[0][0]) for path in bad)
