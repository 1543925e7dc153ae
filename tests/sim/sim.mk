# The simulator: tests/sim/README.md.
#
# SIM_SAN=1 builds with Address- and UndefinedBehaviorSanitizer into
# build/sim-san.
#
# Real objects are compiled once more into build/sim, where what they call of
# the kernel is renamed to what seam_*.c offer instead (objcopy).  kvd's objects
# become one, so that its names do not meet raftd's.

SIM_O      := build/sim
SIM_CFLAGS := -std=c11 -D_GNU_SOURCE -Itests/sim/small -I. -fno-common -pthread $(WARN) -O2 -g
SIM_SAN    ?=
ifeq ($(SIM_SAN),1)
SIM_O      := build/sim-san
SIM_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
endif
SIM_BIN    := $(if $(filter build/sim,$(SIM_O)),bin,$(SIM_O))

SIM_OWN    := $(wildcard tests/sim/*.c)
SIM_SHARED := base/buf.c base/blob.c base/hash.c base/metrics.c \
	base/mono.c base/process.c \
	$(filter-out proto/link_stream.c proto/link_connect.c,$(wildcard proto/*.c))
SIM_RAFTD  := $(filter-out raftd/main.c raftd/wal_disk.c raftd/check.c raftd/wal_peek.c raftd/force.c,$(wildcard raftd/*.c)) \
	$(wildcard raftd/raft/*.c)
SIM_KVD    := $(filter-out kvd/engine_lmdb.c kvd/engine_leveldb.c,$(wildcard kvd/*.c))
SIM_HTTPD  := httpd/pending.c httpd/backlog.c httpd/batch.c

SIM_RENAME := --redefine-sym exit=sim_exit --redefine-sym _exit=sim_exit_now \
	--redefine-sym _Exit=sim_exit_plain \
	--redefine-sym __assert_fail=sim_assert_fail \
	--redefine-sym clock_gettime=sim_clock_gettime
SIM_RENAME_raftd/writer.c := --redefine-sym pthread_create=sim_pthread_create \
	--redefine-sym pthread_join=sim_pthread_join \
	--redefine-sym pthread_cond_wait=sim_cond_wait \
	--redefine-sym pthread_cond_signal=sim_cond_signal \
	--redefine-sym pthread_sigmask=sim_sigmask
SIM_RENAME_raftd/snapio.c := $(SIM_RENAME_raftd/writer.c)
SIM_RENAME_raftd/ready.c := --redefine-sym writer_submit=sim_writer_submit \
	--redefine-sym writer_done=sim_writer_done
SIM_RENAME_raftd/snap.c := $(SIM_RENAME_raftd/ready.c)
SIM_RENAME_raftd/space.c := --redefine-sym statvfs=sim_statvfs
SIM_RENAME_raftd/store.c := --redefine-sym wal_open=sim_wal_open \
	--redefine-sym raft_new=sim_raft_new
SIM_RENAME_kvd/engine_memory.c := \
	--redefine-sym engine_memory=real_engine_memory
# Every state, not only those that get into the engine.
SIM_RENAME_kvd/apply.c := --redefine-sym check_applied=sim_check_applied
# kvd's main() keeps its state in .bss: the image that is swapped.
SIM_RENAME_kvd/main.c := --redefine-sym main=kvd_main \
	--rename-section .bss=sim_image
# $(1): source file; the simulator's own files are left alone.
SIM_RENAMES = $(if $(filter tests/%,$(1)),,$(SIM_RENAME) $(SIM_RENAME_$(1)))

SIM_OBJECTS := $(SIM_OWN:%.c=$(SIM_O)/%.o) $(SIM_SHARED:%.c=$(SIM_O)/%.o) \
	$(SIM_RAFTD:%.c=$(SIM_O)/%.o) $(SIM_HTTPD:%.c=$(SIM_O)/%.o) \
	$(SIM_O)/kvd.o

$(SIM_O)/tests/sim/%.o: tests/sim/%.c $(SIM_O)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(SIM_CFLAGS) -MMD -MP -c -o $@ $<

$(SIM_O)/%.o: %.c $(SIM_O)/flags tests/sim/sim.mk
	@mkdir -p $(@D)
	$(Q)$(CC) $(SIM_CFLAGS) -MMD -MP -c -o $@ $<
	$(Q)objcopy $(call SIM_RENAMES,$<) $@

# Its own names for what raftd has too; the rest is known to the simulator.
SIM_KVD_KEEP := kvd_main real_engine_memory state_wire key_record_wire \
	record_name_state check_applied
$(SIM_O)/kvd.o: $(SIM_KVD:%.c=$(SIM_O)/%.o) tests/sim/sim.mk
	$(Q)$(CC) -r -nostdlib -o $@ $(filter %.o,$^)
	$(Q)objcopy $(SIM_KVD_KEEP:%=--keep-global-symbol=%) $@

$(SIM_BIN)/metcd-sim: $(SIM_OBJECTS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SIM_CFLAGS) -o $@ $^ -lxxhash

# One planted bug: tests/sim/mutants puts MUTANT_FILE's edited copy there.
ifdef MUTANT
SIM_M := $(SIM_O)/mutants/$(MUTANT)
SIM_M_OBJECT := $(SIM_O)/$(MUTANT_FILE:.c=.o)

$(SIM_M)/mutant.o: $(SIM_M)/mutant.c $(SIM_O)/flags tests/sim/sim.mk
	$(Q)$(CC) $(SIM_CFLAGS) -I$(dir $(MUTANT_FILE)) -w -MMD -MP -c -o $@ $<
	$(Q)objcopy $(call SIM_RENAMES,$(MUTANT_FILE)) $@

ifneq ($(filter $(MUTANT_FILE),$(SIM_KVD)),)
$(SIM_M)/kvd.o: $(filter-out $(SIM_M_OBJECT),$(SIM_KVD:%.c=$(SIM_O)/%.o)) \
		$(SIM_M)/mutant.o
	$(Q)$(CC) -r -nostdlib -o $@ $(filter %.o,$^)
	$(Q)objcopy $(SIM_KVD_KEEP:%=--keep-global-symbol=%) $@
SIM_M_PARTS := $(filter-out $(SIM_O)/kvd.o,$(SIM_OBJECTS)) $(SIM_M)/kvd.o
else
SIM_M_PARTS := $(filter-out $(SIM_M_OBJECT),$(SIM_OBJECTS)) $(SIM_M)/mutant.o
endif

.PHONY: sim-mutant
sim-mutant: $(SIM_M)/metcd-sim
$(SIM_M)/metcd-sim: $(SIM_M_PARTS)
	$(Q)$(CC) $(SIM_CFLAGS) -o $@ $^ -lxxhash
endif

$(SIM_O)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(SIM_CFLAGS)' | cmp -s - $@ || \
		echo '$(CC) $(SIM_CFLAGS)' > $@

# ---- targets ----

CHECK_STAGES += check-sim
SIM_SEEDS  ?= 2000
SEEDS      ?= 100000
SOAK_FIRST ?= 1000000

.PHONY: check-sim soak check-mutants
check-sim: $(SIM_BIN)/metcd-sim
	@tests/sim/check $< $(SIM_SEEDS)
soak: $(SIM_BIN)/metcd-sim
	$< --seeds $(SOAK_FIRST):$$(($(SOAK_FIRST) + $(SEEDS) - 1)) \
		--jobs $$(nproc)
check-mutants: $(SIM_BIN)/metcd-sim
	@tests/sim/mutants

-include $(shell find $(SIM_O) -name '*.d' 2>/dev/null)
