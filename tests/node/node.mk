# Long runs with real processes; none is part of `make check`, which has a few
# rounds of each.  ROUNDS and SEED choose how long and which; METCD_FAULTLAB
# names the directory of faultio.c (default: a directory faultlab in one beside
# the repository).
#
#   make powercut ROUNDS=200    nodes lose power under load
#   make chaos ROUNDS=100       kills, cuts, swaps, wipes, damage, all mixed
#   make measure-durability     restart, memory, latency, swap, catching up

ROUNDS ?=
SEED   ?= 1
NODE_PYTEST = METCD_SEED=$(SEED) $(if $(ROUNDS),METCD_ROUNDS=$(ROUNDS)) \
	$(PYTHON) -m pytest -q -rs -s

.PHONY: powercut chaos measure-durability
powercut: ROUNDS := $(or $(ROUNDS),200)
powercut: programs
	@$(NODE_PYTEST) tests/node/test_durability.py -k power_cuts

chaos: ROUNDS := $(or $(ROUNDS),100)
chaos: programs
	@$(NODE_PYTEST) tests/node/test_chaos.py

measure-durability: programs
	@$(PYTHON) tests/node/measure_durability.py $(WHAT)
