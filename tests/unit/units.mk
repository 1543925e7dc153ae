# The objects that each unit test links: a dependency map.  Needing one more is
# a design question.
#   UNIT_name      sources besides tests/unit/test_name.c
#   UNIT_LIBS_name libraries besides cmocka

UNIT_cluster := raftd/cluster.c raftd/context.c raftd/wal_format.c \
	proto/wire.c base/log.c base/buf.c base/mem.c base/hash.c
UNIT_LIBS_cluster := -lxxhash
UNIT_hold := raftd/hold.c raftd/raft/msg.c base/blob.c base/buf.c base/mem.c base/mono.c base/log.c
UNIT_plan := raftd/plan.c raftd/majority.c $(UNIT_cluster)
UNIT_LIBS_plan := -lxxhash
UNIT_members := tests/unit/leader_fixture.c raftd/members.c proto/err.c base/mono.c $(UNIT_plan)
UNIT_LIBS_members := -lxxhash
UNIT_orders := tests/unit/link_fake.c raftd/orders.c proto/msg.c proto/wire.c \
	proto/err.c base/buf.c base/log.c base/mem.c base/mono.c
UNIT_join := tests/unit/link_fake.c raftd/join.c raftd/joinmsg.c \
	proto/msg.c proto/err.c base/mono.c $(UNIT_cluster)
UNIT_LIBS_join := -lxxhash
UNIT_strangers := raftd/strangers.c
UNIT_leave := raftd/leave.c proto/err.c base/mono.c $(UNIT_cluster)
UNIT_LIBS_leave := -lxxhash
UNIT_rmsg := raftd/rmsg.c proto/wire.c base/buf.c base/mem.c base/blob.c \
	base/log.c raftd/raft/msg.c

LINK := proto/link.c proto/link_complaints.c proto/link_connect.c \
	proto/link_frame.c proto/link_life.c proto/link_share.c \
	proto/link_stream.c proto/link_take.c
UNIT_wire := proto/wire.c proto/err.c base/buf.c base/mem.c base/log.c
UNIT_msg := proto/msg.c proto/cmd.c proto/wire.c proto/link_frame.c \
	base/buf.c base/mem.c base/log.c base/hash.c
UNIT_LIBS_msg := -lxxhash
UNIT_cmd := proto/cmd.c proto/wire.c base/buf.c base/mem.c base/log.c
UNIT_link := tests/unit/link_ends.c $(LINK) proto/msg.c proto/wire.c \
	proto/err.c base/buf.c base/mem.c base/log.c base/hash.c base/loop.c \
	base/mono.c
UNIT_LIBS_link := -lnng -lxxhash
UNIT_link_stranger := $(UNIT_link)
UNIT_LIBS_link_stranger := $(UNIT_LIBS_link)
UNIT_link_turns := $(UNIT_link)
UNIT_LIBS_link_turns := $(UNIT_LIBS_link)

UNIT_engine := kvd/engine.c kvd/engine_memory.c kvd/engine_lmdb.c kvd/places.c \
	kvd/engine_leveldb.c kvd/record.c proto/wire.c base/blob.c base/buf.c \
	base/file.c base/hash.c base/log.c base/mem.c base/mono.c
UNIT_LIBS_engine := -llmdb -lleveldb -lxxhash

UNIT_base_buf := base/buf.c base/blob.c base/mem.c base/log.c
UNIT_base_metrics := base/metrics.c base/process.c base/buf.c base/mem.c base/log.c
UNIT_base_hash := base/hash.c base/mono.c
UNIT_LIBS_base_hash := -lxxhash
UNIT_base_loop := base/loop.c base/mono.c base/mem.c base/log.c
UNIT_base_turns := $(UNIT_base_loop)
UNIT_base_file := base/file.c base/buf.c base/mem.c base/log.c
UNIT_base_daemon := base/daemon.c base/log.c
UNIT_LIBS_base_daemon := -lsystemd
UNIT_base_watchdog := base/watchdog.c base/loop.c base/mono.c base/mem.c \
	base/log.c
UNIT_LIBS_base_watchdog := -lsystemd
UNIT_base_inherit := base/inherit.c base/log.c
UNIT_LIBS_base_inherit := -lsystemd
UNIT_base_log := tests/unit/log_fixture.c base/log.c
UNIT_LIBS_base_log := -ljansson
UNIT_base_log_sink := $(UNIT_base_log)
UNIT_LIBS_base_log_sink := -Wl,--wrap=pwritev2 -Wl,--wrap=open
UNIT_supervise := cmd/metcd/supervise.c base/log.c

UNIT_http_uri := httpd/uri.c base/buf.c base/mem.c base/log.c
UNIT_http_etag := httpd/etag.c base/decimal.c
UNIT_http_visit :=
UNIT_LIBS_http_visit := -lmicrohttpd
UNIT_http_problem := httpd/problem.c proto/err.c base/buf.c base/mem.c base/log.c
UNIT_LIBS_http_problem := -ljansson
UNIT_http_pending := tests/unit/link_fake.c tests/unit/pending_bench.c httpd/pending.c \
	httpd/backlog.c httpd/batch.c proto/cmd.c proto/msg.c \
	proto/wire.c proto/err.c base/buf.c base/mem.c base/log.c base/mono.c
UNIT_http_deadline := $(UNIT_http_pending)
UNIT_http_metrics := tests/unit/link_fake.c httpd/metrics.c httpd/asker.c httpd/traffic.c base/metrics.c \
	base/process.c proto/msg.c proto/wire.c proto/err.c base/buf.c \
	base/mem.c base/log.c base/mono.c
UNIT_echo := tests/unit/link_fake.c raftd/echo.c base/metrics.c proto/msg.c proto/wire.c base/buf.c \
	base/mem.c base/log.c base/mono.c
UNIT_http_fields := httpd/fields.c httpd/route.c base/buf.c base/mem.c base/log.c
UNIT_LIBS_http_fields := -ljansson
UNIT_http_control := tests/unit/link_fake.c httpd/control.c httpd/asker.c httpd/checker.c httpd/pending.c \
	httpd/backlog.c httpd/batch.c proto/cmd.c proto/msg.c proto/wire.c proto/err.c \
	base/buf.c base/mem.c base/log.c base/mono.c
KVD_MACHINE := tests/unit/kvd_fixture.c kvd/apply.c kvd/read.c kvd/session.c \
	kvd/store.c kvd/record.c kvd/overlay.c kvd/heads.c kvd/marker.c kvd/dirs.c \
	kvd/snapshot.c kvd/load.c kvd/loading.c kvd/sync.c kvd/flush.c \
	kvd/writeback.c kvd/check.c kvd/scrub.c kvd/metrics.c kvd/engine.c \
	kvd/engine_memory.c kvd/engine_lmdb.c kvd/places.c kvd/engine_leveldb.c \
	proto/msg.c proto/cmd.c proto/wire.c base/blob.c base/buf.c \
	base/file.c base/hash.c base/log.c base/loop.c base/mem.c \
	base/metrics.c base/mono.c base/process.c
UNIT_apply := $(KVD_MACHINE)
UNIT_LIBS_apply := -llmdb -lleveldb -lxxhash

WAL := raftd/wal.c raftd/wal_cut.c raftd/wal_segment.c raftd/wal_read.c raftd/wal_recover.c \
	raftd/wal_format.c raftd/wal_disk.c proto/wire.c $(RAFT) base/blob.c \
	base/buf.c base/hash.c base/log.c base/mem.c base/metrics.c base/mono.c
UNIT_wal_crash := $(WAL) tests/crash/memdisk.c
UNIT_wal := $(UNIT_wal_crash) tests/unit/wal_fixture.c
UNIT_LIBS_wal := -lxxhash
UNIT_wal_mark := $(UNIT_wal)
UNIT_LIBS_wal_mark := -lxxhash
UNIT_LIBS_wal_crash := -lxxhash
UNIT_snapio := raftd/snapio.c base/loop.c base/mono.c base/mem.c base/log.c
UNIT_rate := raftd/rate.c base/mono.c
UNIT_transfer := raftd/transfer.c raftd/rate.c raftd/snapmsg.c raftd/rmsg.c \
	raftd/raft/msg.c proto/wire.c proto/err.c base/blob.c base/buf.c \
	$(UNIT_snapio)
UNIT_behind := raftd/behind.c base/mono.c base/mem.c base/log.c
UNIT_snapfile := raftd/snapfile.c $(UNIT_wal_crash)
UNIT_LIBS_snapfile := -lxxhash
UNIT_receive := tests/unit/link_fake.c tests/unit/log_fixture.c raftd/receive.c raftd/snapmsg.c \
	raftd/snapfile.c raftd/snapio.c raftd/rmsg.c raftd/wal_format.c \
	raftd/raft/msg.c tests/crash/memdisk.c proto/msg.c proto/wire.c proto/err.c \
	base/blob.c base/buf.c base/hash.c base/log.c base/loop.c base/mem.c \
	base/mono.c
UNIT_LIBS_receive := -lxxhash
UNIT_snaps := raftd/snap.c raftd/snapfile.c raftd/rlog.c raftd/snapio.c \
	base/loop.c base/mono.c $(UNIT_wal_crash)
UNIT_LIBS_snaps := -lxxhash
UNIT_rlog := raftd/rlog.c $(UNIT_wal_crash)
UNIT_LIBS_rlog := -lxxhash
UNIT_writer := raftd/writer.c base/loop.c $(UNIT_rlog)
UNIT_LIBS_writer := -lxxhash
UNIT_read := $(KVD_MACHINE)
UNIT_LIBS_read := -llmdb -lleveldb -lxxhash
UNIT_snapshot := $(KVD_MACHINE) kvd/adopt.c
UNIT_LIBS_snapshot := -llmdb -lleveldb -lxxhash
UNIT_check := $(KVD_MACHINE)
UNIT_LIBS_check := -llmdb -lleveldb -lxxhash
UNIT_writeback := $(KVD_MACHINE)
UNIT_LIBS_writeback := -llmdb -lleveldb -lxxhash
UNIT_overlay := kvd/overlay.c kvd/record.c proto/wire.c base/buf.c base/hash.c base/log.c base/mem.c
UNIT_LIBS_overlay := -lxxhash
UNIT_heads := kvd/heads.c kvd/record.c proto/wire.c base/buf.c base/hash.c base/log.c base/mem.c
UNIT_LIBS_heads := -lxxhash
UNIT_places := kvd/places.c base/buf.c base/hash.c base/log.c base/mem.c
UNIT_LIBS_places := -lxxhash
UNIT_store := kvd/store.c kvd/session.c kvd/marker.c kvd/dirs.c kvd/overlay.c \
	kvd/record.c kvd/heads.c kvd/sync.c kvd/flush.c kvd/engine.c kvd/engine_memory.c \
	kvd/engine_lmdb.c kvd/places.c kvd/engine_leveldb.c proto/wire.c base/blob.c \
	base/buf.c base/file.c base/hash.c base/log.c base/loop.c base/mem.c \
	base/metrics.c base/mono.c
UNIT_LIBS_store := -llmdb -lleveldb -lxxhash

RAFT_UNIT := $(wildcard raftd/raft/*.c) base/blob.c base/buf.c base/mem.c \
	base/log.c
HARNESS_UNIT := $(addprefix tests/script/harness/,cluster.c store.c print.c \
	script.c)
UNIT_raft_cluster := $(RAFT_UNIT) $(HARNESS_UNIT)
UNIT_raft_input := $(RAFT_UNIT) tests/script/harness/store.c
UNIT_raft_core := $(RAFT_UNIT) tests/script/harness/store.c
UNIT_raft_log := $(RAFT_UNIT) tests/script/harness/store.c

# A tool of tests with real processes: it damages a store; see its source.
FLIP := tests/lib/flip.c kvd/record.c kvd/engine.c kvd/engine_memory.c \
	kvd/engine_lmdb.c kvd/places.c kvd/engine_leveldb.c proto/wire.c base/blob.c \
	base/buf.c base/hash.c base/log.c base/mem.c base/mono.c
$(O)/tests/lib/flip: $(call objects,$(FLIP))
	@echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -llmdb -lleveldb -lxxhash
unit-programs: $(O)/tests/lib/flip

# What has a second thread; `make check-threads` runs these under
# ThreadSanitizer.
UNITS_THREADED := base_log_sink base_turns engine link link_turns receive \
	snapio snaps store transfer writeback writer

UNIT_bench_load := tests/bench/histogram.c tests/bench/request.c base/buf.c \
	base/mem.c base/log.c
