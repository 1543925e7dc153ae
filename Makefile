# metcd: one Makefile, not recursive.
#
#   make            build bin/{metcd,metcdctl,raftd,kvd,httpd}
#   make run        install what is missing, build, run one node on :3379
#   make cluster    the same with three nodes on :3379 :3479 :3579
#   make check      install what is missing, build, run all tests
#   make lint       clang-format, clang's warnings, cppcheck
#   make install    PREFIX=/usr/local UNITDIR=PREFIX/lib/systemd/system DESTDIR=
#   make deb        a Debian package in build/deb
#
# V=1 shows the commands.  CC=clang builds into build/clang, SAN=1 with Address-
# and UndefinedBehaviorSanitizer into build/gcc-san, TSAN=1 with ThreadSanitizer
# into build/gcc-tsan.

CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
PREFIX  ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/system
Q       := $(if $(V),,@)
DESTDIR ?=
PYTHON  ?= /usr/bin/python3

WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
           -Wswitch-enum -Wconversion -Wpointer-arith -Wvla -Werror
CFLAGS  ?= -O2 -g
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -I. -fno-common -pthread $(WARN) \
              $(CPPFLAGS) $(CFLAGS)
LDFLAGS ?=
ALL_LDFLAGS := -pthread $(LDFLAGS)

VARIANT := $(notdir $(firstword $(CC)))
ifeq ($(SAN),1)
VARIANT := $(VARIANT)-san
ALL_CFLAGS  += -fsanitize=address,undefined -fno-sanitize-recover=all \
               -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=address,undefined
endif
ifeq ($(TSAN),1)
VARIANT := $(VARIANT)-tsan
ALL_CFLAGS  += -fsanitize=thread -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=thread
endif
O   := build/$(VARIANT)
# Other variants keep their binaries to themselves.
BIN := $(if $(filter gcc,$(VARIANT)),bin,$(O)/bin)

PROGRAMS := metcd metcdctl raftd kvd httpd

# Which objects make what: the dependency rules of ARCHITECTURE.md.
BASE     := $(wildcard base/*.c)
PROTO    := $(wildcard proto/*.c)
RAFT     := $(wildcard raftd/raft/*.c)
RAFTD    := $(filter-out raftd/main.c,$(wildcard raftd/*.c))
KVD      := $(filter-out kvd/main.c,$(wildcard kvd/*.c))
HTTPD    := $(filter-out httpd/main.c,$(wildcard httpd/*.c))

SRC_raftd    := raftd/main.c $(RAFTD) $(RAFT) $(PROTO) $(BASE)
SRC_kvd      := kvd/main.c $(KVD) $(PROTO) $(BASE)
SRC_httpd    := httpd/main.c $(HTTPD) $(PROTO) $(BASE)
SRC_metcd    := $(wildcard cmd/metcd/*.c) $(BASE)
SRC_metcdctl := $(wildcard cmd/metcdctl/*.c) $(BASE)

# The objects of sources.  Who lists base/log.c gets the other half of it too.
objects = $(sort $(patsubst %.c,$(O)/%.o,$(1) \
	$(if $(filter base/log.c,$(1)),base/log_json.c)))

LIB_raftd    := -lnng -lxxhash -lsystemd
LIB_kvd      := -lnng -lxxhash -lsystemd -llmdb -lleveldb
# libmicrohttpd allocates a dozen times for each request: there mimalloc's malloc
# takes the C library's place.  A sanitizer has its own.
LIB_httpd    := $(if $(filter 1,$(SAN) $(TSAN)),,-lmimalloc) -lnng -lxxhash -lsystemd -lmicrohttpd -ljansson
LIB_metcd    := -lxxhash -lsystemd
LIB_metcdctl := -lxxhash -lsystemd -lcurl -ljansson

PACKAGES_BUILD := gcc make libnng-dev libmicrohttpd-dev \
	liblmdb-dev libleveldb-dev libjansson-dev libxxhash-dev \
	libcurl4-openssl-dev libsystemd-dev libmimalloc-dev
PACKAGES_TEST := libcmocka-dev python3 python3-pytest curl clang libclang-rt-14-dev \
	prometheus

.PHONY: all deb programs run cluster check check-unit check-threads check-node check-tidy lint install clean deps-build deps-test FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: programs
programs: $(PROGRAMS:%=$(BIN)/%)

define PROGRAM_RULE
$$(BIN)/$(1): $$(SRC_$(1):%.c=$$(O)/%.o)
	@mkdir -p $$(@D)
	@echo "  LD    $$@"
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(LIB_$(1))
endef
$(foreach p,$(PROGRAMS),$(eval $(call PROGRAM_RULE,$(p))))

$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	@echo "  CC    $@"
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Rebuild when compiler or flags change.
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || \
		echo '$(CC) $(ALL_CFLAGS)' > $@
FORCE:

-include $(shell find $(O) -name '*.d' 2>/dev/null)

# --- tests ---
# tests/unit/units.mk lists, for each unit test, the objects it links.
include tests/unit/units.mk
UNITS := $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c))

define UNIT_RULE
$$(O)/tests/unit/$(1): $$(call objects,tests/unit/test_$(1).c $$(UNIT_$(1)))
	@echo "  LD    $$@"
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ -lcmocka $$(UNIT_LIBS_$(1))
endef
$(foreach u,$(UNITS),$(eval $(call UNIT_RULE,$(u))))

unit-programs: $(UNITS:%=$(O)/tests/unit/%)

-include tests/fuzz/fuzz.mk
-include tests/script/script.mk
-include tests/bench/bench.mk
-include tests/sim/sim.mk
-include tests/node/node.mk
-include tests/systemd/systemd.mk
-include deploy/man/man.mk

# All tests; prints a line "N passed, N failed" at the end.
check: deps-test
	@MAKE='$(MAKE)' PYTHON='$(PYTHON)' tests/check

# Single stages of it.
check-unit: unit-programs
	@tests/run-units $(UNITS:%=$(O)/tests/unit/%)
# Those that have threads, under ThreadSanitizer.
check-threads:
	@TSAN_OPTIONS=suppressions=tests/unit/tsan.supp \
	$(MAKE) --no-print-directory TSAN=1 check-unit \
		UNITS='$(UNITS_THREADED)'
check-tidy:
	@$(PYTHON) -m pytest -q tests/tidy
	@$(PYTHON) tests/tidy/tidy.py
check-node: programs
	@$(PYTHON) -m pytest -q tests/node

lint:
	@deploy/need-packages clang-format cppcheck
	clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
	cppcheck --std=c11 --quiet --inline-suppr --error-exitcode=1 \
		--enable=warning,portability --suppress=missingIncludeSystem \
		-I. base proto raftd kvd httpd cmd

# --- set-up and running ---
deps-build:
	@deploy/need-packages $(PACKAGES_BUILD)
deps-test: deps-build
	@deploy/need-packages $(PACKAGES_TEST)

run: deps-build
	@$(MAKE) --no-print-directory programs
	@echo 'curl -L http://127.0.0.1:3379/hello -XPUT -d world   # then:'
	@echo 'curl -L http://127.0.0.1:3379/hello'
	exec $(BIN)/metcd --data-dir ./metcd.data --engine lmdb

cluster: deps-build
	@$(MAKE) --no-print-directory programs
	exec deploy/local-cluster

# Where things go.  Units and sample files name LIBEXECDIR, so it is put in.
BINDIR      := $(DESTDIR)$(PREFIX)/bin
LIBEXECDIR  := $(PREFIX)/libexec/metcd
SHAREDIR    := $(DESTDIR)$(PREFIX)/share/metcd
SYSUSERSDIR := $(DESTDIR)$(PREFIX)/lib/sysusers.d
TMPFILESDIR := $(DESTDIR)$(PREFIX)/lib/tmpfiles.d
BASHDIR     := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
FISHDIR     := $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
# Debian has another one: vendor-completions.
ZSHDIR      ?= $(PREFIX)/share/zsh/site-functions
UNITS_SYSTEMD := $(wildcard deploy/systemd/*.service deploy/systemd/*.socket \
	deploy/systemd/*.target)
# $(1): file, $(2): its place
INSTALL_FILLED = sed 's|@LIBEXECDIR@|$(LIBEXECDIR)|g' $(1) >$(2) && chmod 644 $(2)

install: programs
	install -d $(BINDIR) $(DESTDIR)$(LIBEXECDIR) $(SHAREDIR) \
		$(DESTDIR)$(UNITDIR) $(SYSUSERSDIR) $(TMPFILESDIR) \
		$(BASHDIR) $(FISHDIR) $(DESTDIR)$(ZSHDIR)
	install -m 755 $(BIN)/metcd $(BIN)/metcdctl $(BINDIR)
	install -m 755 $(BIN)/raftd $(BIN)/kvd $(BIN)/httpd \
		$(DESTDIR)$(LIBEXECDIR)
	set -e; for u in $(UNITS_SYSTEMD); do \
		$(call INSTALL_FILLED,$$u,$(DESTDIR)$(UNITDIR)/$${u##*/}); done
	$(call INSTALL_FILLED,deploy/systemd/example.env,$(SHAREDIR)/example.env)
	install -m 644 deploy/systemd/metcd.sysusers $(SYSUSERSDIR)/metcd.conf
	install -m 644 deploy/systemd/metcd.tmpfiles $(TMPFILESDIR)/metcd.conf
	install -m 644 deploy/prometheus/metcd-alerts.yml \
		deploy/grafana/metcd.json $(SHAREDIR)
	$(BIN)/metcdctl completion bash >$(BASHDIR)/metcdctl
	$(BIN)/metcdctl completion fish >$(FISHDIR)/metcdctl.fish
	$(BIN)/metcdctl completion zsh >$(DESTDIR)$(ZSHDIR)/_metcdctl
	chmod 644 $(BASHDIR)/metcdctl $(FISHDIR)/metcdctl.fish \
		$(DESTDIR)$(ZSHDIR)/_metcdctl

# A Debian package, built as anyone would build it from a source package: in a
# tree with debian/ beside the sources, which are those that git knows.
PACKAGES_DEB := dpkg-dev debhelper fakeroot git
DEB_VERSION  = $(shell sed -n 's/^\#define METCD_VERSION "\(.*\)"/\1/p' base/daemon.h)
DEB_TREE     = build/deb/metcd-$(DEB_VERSION)
# The package's date is that of the last change, so it builds the same twice.
DEB_DATE     = $(shell git log -1 --format=%cD 2>/dev/null || date -R)
deb: deps-build
	@deploy/need-packages $(PACKAGES_DEB)
	rm -rf build/deb
	mkdir -p $(DEB_TREE)
	{ git ls-files -z 2>/dev/null || find . -path ./build -prune -o \
		-path ./bin -prune -o -type f -print0; } | \
		xargs -0 cp -t $(DEB_TREE) --parents
	cp -r $(DEB_TREE)/deploy/debian $(DEB_TREE)/debian
	sed -e 's/@VERSION@/$(DEB_VERSION)/; s/@DATE@/$(DEB_DATE)/' \
		deploy/debian/changelog.in >$(DEB_TREE)/debian/changelog
	(cat deploy/debian/copyright.in; \
		sed '1,4d; s/^$$/./; s/^/ /' LICENSE) >$(DEB_TREE)/debian/copyright
	cd $(DEB_TREE) && env -u MAKEFLAGS -u MAKELEVEL -u CC -u CFLAGS \
		dpkg-buildpackage -b -uc -us -tc -j$$(nproc) >../build.log 2>&1 || \
		{ tail -40 ../build.log; exit 1; }
	rm -rf $(DEB_TREE)
	@ls build/deb/*.deb

clean:
	rm -rf build bin
