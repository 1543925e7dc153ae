/* In the simulator: limits so small that they are reached all the time.  It
 * stands before the real one in the include path (sim.mk). */
#ifndef TESTS_SIM_SMALL_PROTO_LIMITS_H
#define TESTS_SIM_SMALL_PROTO_LIMITS_H

#include "../../../../proto/limits.h"

#undef BATCH_COMMANDS_MAX
#define BATCH_COMMANDS_MAX 4u
#undef COMMIT_BYTES_SOFT
#define COMMIT_BYTES_SOFT 1000u
#undef FEED_WINDOW_BYTES
#define FEED_WINDOW_BYTES 16000u
#undef READS_WAITING_BYTES_MAX
#define READS_WAITING_BYTES_MAX 200u
#undef SNAP_CHUNK_BYTES_SOFT
#define SNAP_CHUNK_BYTES_SOFT 700u
#undef SNAP_WINDOW_CHUNKS
#define SNAP_WINDOW_CHUNKS 3u
#undef LOAD_SLICE_CHUNKS
#define LOAD_SLICE_CHUNKS 2u
#undef SNAP_PIECE_BYTES
#define SNAP_PIECE_BYTES 500u

#endif
