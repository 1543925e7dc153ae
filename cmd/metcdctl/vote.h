/* Waiting until a member votes. */
#ifndef CMD_METCDCTL_VOTE_H
#define CMD_METCDCTL_VOTE_H

#include "base/mono.h"
#include "cmd/metcdctl/ctl.h"

/* Ask c's admin endpoints until one says that member id is a voter, and old (0:
 * nobody) is no member any more; shows how far it has got.  CTL_OK, or
 * CTL_ERROR at the deadline or when id is out again, after one line. */
enum ctl_exit vote_wait(
    const struct ctl *c, uint64_t id, uint64_t old, struct mono deadline);

#endif
