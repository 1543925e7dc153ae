# Fuzzers: one per decoder, with libFuzzer of clang.  Included by the Makefile.
#
#   make fuzz-short            each for FUZZ_SECONDS (5)
#   build/fuzz/msg CORPUS      one of them, until it finds something
#
# FUZZ_name: sources besides tests/fuzz/fuzz_name.c; FUZZ_LIBS_name: libraries.

FUZZ_CC      ?= clang
FUZZ_SECONDS ?= 5
FUZZ_FLAGS   := -std=c11 -D_GNU_SOURCE -I. -pthread $(WARN) -O1 -g \
                -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all

FUZZ_COMMON := proto/wire.c base/buf.c base/mem.c base/log.c \
	base/log_json.c
FUZZ_hello  := proto/msg.c $(FUZZ_COMMON)
FUZZ_msg    := proto/msg.c $(FUZZ_COMMON)
FUZZ_cmd    := proto/cmd.c $(FUZZ_COMMON)
FUZZ_frame  := proto/link_frame.c base/hash.c $(FUZZ_COMMON)
FUZZ_LIBS_frame := -lxxhash
FUZZ_fields := httpd/fields.c base/buf.c base/mem.c base/log.c \
	base/log_json.c
FUZZ_LIBS_fields := -ljansson
FUZZ_context := raftd/context.c raftd/wal_format.c base/hash.c $(FUZZ_COMMON)
FUZZ_LIBS_context := -lxxhash
FUZZ_join   := raftd/joinmsg.c raftd/wal_format.c base/hash.c $(FUZZ_COMMON)
FUZZ_LIBS_join := -lxxhash

FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

define FUZZ_RULE
build/fuzz/$(1): tests/fuzz/fuzz_$(1).c $$(FUZZ_$(1)) $$(wildcard */*.h)
	@mkdir -p $$(@D)
	$$(FUZZ_CC) $$(FUZZ_FLAGS) -o $$@ $$(filter %.c,$$^) $$(FUZZ_LIBS_$(1))
endef
$(foreach f,$(FUZZERS),$(eval $(call FUZZ_RULE,$(f))))

.PHONY: fuzz-programs fuzz-short
fuzz-programs: $(FUZZERS:%=build/fuzz/%)

# The corpus of earlier runs is kept and read again.
fuzz-short: fuzz-programs
	@set -e; for f in $(FUZZERS); do \
		echo "fuzz $$f ($(FUZZ_SECONDS) s)"; \
		mkdir -p build/fuzz/corpus/$$f; \
		build/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -verbosity=0 \
			-artifact_prefix=build/fuzz/$$f- \
			build/fuzz/corpus/$$f >build/fuzz/$$f.log 2>&1 || \
			{ cat build/fuzz/$$f.log; exit 1; }; \
	done
