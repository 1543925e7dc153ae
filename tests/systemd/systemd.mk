# metcd as a Debian package under a real systemd: tests/systemd/run.  Part of
# `make check` where a container with systemd can be made (root, and the tool
# that METCD_FAULTLAB has); elsewhere it says what is missing.
CHECK_STAGES += check-systemd
.PHONY: check-systemd
check-systemd:
	@PYTHON='$(PYTHON)' MAKE='$(MAKE)' tests/systemd/run $(SYSTEMD_TESTS)
