/* What the parts of the nemesis have in common. */
#ifndef TESTS_SIM_NEMESIS_H
#define TESTS_SIM_NEMESIS_H

#include "tests/sim/sim.h"

/* The core of a node that runs and is not in the middle of something. */
struct raft *nemesis_core(unsigned node);
uint64_t nemesis_duration(void); /* of a fault */
void nemesis_transfer(unsigned leader, uint64_t to);

/* ---- change.c ---- */

void change_reset(void);
void change_strike(void);
void change_settle(void);

#endif
