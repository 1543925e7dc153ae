# Measurements; none of them is part of make check.
#
#   make bench-raft   the Raft core alone (tests/bench/README.md)
SRC_bench-raft := tests/bench/bench_raft.c tests/script/harness/store.c \
	$(RAFT) base/blob.c base/buf.c base/mem.c base/log.c base/mono.c

$(O)/tests/bench/bench_raft: $(SRC_bench-raft:%.c=$(O)/%.o)
	@echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--wrap=mem_alloc -Wl,--wrap=mem_zalloc \
		-Wl,--wrap=mem_resize -o $@ $^

.PHONY: bench-raft
bench-raft: $(O)/tests/bench/bench_raft
	@$<
