# The manual pages: checked by tests/node/test_man.py against --help.
MANDIR ?= $(PREFIX)/share/man
MAN    := $(wildcard deploy/man/*.[1-8])

PACKAGES_TEST += mandoc man-db

.PHONY: install-man
install: install-man
install-man:
	set -e; for page in $(MAN); do \
		install -D -m 644 $$page \
			$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}; \
	done
