# Measurements; none of them is part of make check.  tests/bench/README.md
#
#   make bench           beside etcd, raftexample and bare libmicrohttpd
#   make bench-quick     the same in short, less than 90 s
#   make bench-engines   which engine for which load
#   make bench-growth    keys, values, nodes, connections
#   make bench-failover  a leader that is killed, frozen or stopped
#   make bench-costs     where the time of a request goes
#   make bench-raft      the Raft core alone
#
# Smaller or longer: make bench ROUNDS=1 SECONDS=1 KEYS=1000; the README lists
# what each one takes.
SRC_bench-raft := tests/bench/bench_raft.c tests/script/harness/store.c \
	$(RAFT) base/blob.c base/buf.c base/mem.c base/log.c base/mono.c

BENCH_CLIENT := tests/bench/client.c tests/bench/request.c \
	tests/bench/histogram.c base/buf.c base/mem.c base/log.c base/mono.c
BENCH_PROGRAMS := $(patsubst %,$(O)/tests/bench/%,ceiling openloop fill)
PACKAGES_BENCH := wrk etcd-server golang-go golang-etcd-server-dev \
	linux-perf $(PACKAGES_BUILD) python3

$(O)/tests/bench/bench_raft: $(call objects,$(SRC_bench-raft))
	@echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--wrap=mem_alloc -Wl,--wrap=mem_zalloc \
		-Wl,--wrap=mem_resize -o $@ $^

$(O)/tests/bench/ceiling: $(O)/tests/bench/ceiling.o
	@echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lmicrohttpd

$(O)/tests/bench/openloop $(O)/tests/bench/fill: \
$(O)/tests/bench/%: $(O)/tests/bench/%.o $(call objects,$(BENCH_CLIENT))
	@echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^

# Debian's source of the example that metcd began from.
GO_TREE := /usr/share/gocode
build/bench/raftexample: | deps-bench
	@mkdir -p $(@D)
	@echo "  GO    $@"
	$(Q)GO111MODULE=off GOPATH=$(GO_TREE) GOCACHE=$(CURDIR)/build/bench/go \
		go build -o $@ go.etcd.io/etcd/contrib/raftexample

.PHONY: bench-raft deps-bench bench-programs
bench-raft: $(O)/tests/bench/bench_raft
	@$<

deps-bench:
	@deploy/need-packages $(PACKAGES_BENCH)
bench-programs: deps-bench programs $(BENCH_PROGRAMS) build/bench/raftexample

BENCHES := bench bench-quick bench-engines bench-growth bench-failover \
	bench-costs
.PHONY: $(BENCHES)
$(BENCHES): bench-programs
	@METCD_BIN=$(CURDIR)/$(BIN) METCD_BENCH_BIN=$(CURDIR)/$(O)/tests/bench \
		$(PYTHON) tests/bench/$(subst -,_,$@).py

# The tools of the measurements, a few seconds.
CHECK_STAGES += check-bench
.PHONY: check-bench
check-bench: $(BENCH_PROGRAMS)
	@METCD_BENCH_BIN=$(CURDIR)/$(O)/tests/bench \
		$(PYTHON) -m pytest -q tests/bench
