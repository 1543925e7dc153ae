# The Raft core against data files.
#
#   make conformance   etcd-io/raft's own files, from $(RAFT_TESTDATA)
#   make check-script  ours, tests/script/*.txt
RAFT_TESTDATA ?= ../shared/raft-conformance

HARNESS := $(wildcard tests/script/harness/*.c)
SRC_raft-harness := $(HARNESS) $(RAFT) \
	base/blob.c base/buf.c base/mem.c base/log.c

$(BIN)/raft-harness: $(call objects,$(SRC_raft-harness))
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^

.PHONY: conformance check-conformance check-script
conformance: $(BIN)/raft-harness
	@if test -x "$(RAFT_TESTDATA)/run"; then \
		"$(RAFT_TESTDATA)/run" --harness "$(abspath $<)"; \
	else \
		echo "conformance: not run: $(RAFT_TESTDATA)/run is not" \
		    "there; set RAFT_TESTDATA to the folder that has it"; \
		exit 1; \
	fi

# The same for make check, where missing files are no failure.
check-conformance: $(BIN)/raft-harness
	@if test -x "$(RAFT_TESTDATA)/run"; then \
		"$(RAFT_TESTDATA)/run" --harness "$(abspath $<)"; \
	else \
		echo "not run: there is no $(RAFT_TESTDATA)/run"; \
		echo "0 passed, 0 failed"; \
	fi

check-script: $(BIN)/raft-harness
	@tests/script/run-own $(BIN)/raft-harness

CHECK_STAGES += check-script
CHECK_STAGES += check-conformance
