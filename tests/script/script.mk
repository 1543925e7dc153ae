# The Raft core against data files.
#
#   make conformance   etcd-io/raft's own files, from $(RAFT_TESTDATA)
#   make check-script  ours, tests/script/*.txt
#   make check-faults  do ours find known faults of the core?  (tests/script/faults)
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
		echo "skipped: conformance: there is no" \
		    "$(RAFT_TESTDATA)/run; set RAFT_TESTDATA"; \
		echo "0 passed, 0 failed"; \
	fi

check-script: $(BIN)/raft-harness
	@tests/script/run-own $(BIN)/raft-harness

# Planted faults: tests/script/faults puts edited copies into $(FAULT_O), and
# names them, FAULTS="FILE/NAME ...", FILE being that of raftd/raft.
FAULT_O     := $(O)/faults
FAULT_UNITS := $(patsubst tests/unit/test_%.c,%,$(wildcard \
	tests/unit/test_raft_*.c))
FAULTS      ?=

# $(1): FILE/NAME, $(2): FILE, $(3): program, $(4): its sources, $(5): libraries
define FAULT_PROGRAM
$$(FAULT_O)/$(1)/$(3): $$(FAULT_O)/$(1)/fault.o \
		$$(filter-out $$(O)/raftd/raft/$(2).o,$$(call objects,$(4)))
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $(5)
endef
fault_file = $(patsubst %/,%,$(dir $(1)))
$(foreach f,$(FAULTS),$(eval $(call FAULT_PROGRAM,$(f),$(call fault_file,$(f)),harness,$(SRC_raft-harness))))
$(foreach f,$(FAULTS),$(foreach u,$(FAULT_UNITS),$(eval $(call FAULT_PROGRAM,$(f),$(call fault_file,$(f)),$(u),tests/unit/test_$(u).c $(UNIT_$(u)),-lcmocka))))

# Quickly, and without warnings: a fault may well leave a function unused.  One
# that cannot be built any more must not pass for its programs of an earlier run.
$(FAULT_O)/%/fault.o: $(FAULT_O)/%/fault.c $(O)/flags
	$(Q)rm -f $(addprefix $(@D)/,harness $(FAULT_UNITS))
	$(Q)$(CC) $(ALL_CFLAGS) -O0 -g0 -w -MMD -MP -c -o $@ $<
-include $(FAULTS:%=$(FAULT_O)/%/fault.d)

.PHONY: fault-harnesses fault-units check-faults
fault-harnesses: $(FAULTS:%=$(FAULT_O)/%/harness)
fault-units: $(foreach u,$(FAULT_UNITS),$(FAULTS:%=$(FAULT_O)/%/$(u)))
check-faults:
	@FAULT_O='$(FAULT_O)' RAFT_TESTDATA='$(RAFT_TESTDATA)' tests/script/faults

CHECK_STAGES += check-faults
CHECK_STAGES += check-script
CHECK_STAGES += check-conformance
