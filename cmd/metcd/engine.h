/* Which engine kvd is started with: --engine, else the one in DATA/engine,
 * which is the last one that it was started with, else the default. */
#ifndef CMD_METCD_ENGINE_H
#define CMD_METCD_ENGINE_H

#include <stdbool.h>

#define ENGINE_DEFAULT "lmdb"

/* What can be ordered while kvd runs; --engine is judged by kvd. */
bool engine_is_known(const char *name);
const char *engine_find_name(const char *name); /* one that lasts, or NULL */
const char *engine_list(void);                  /* for messages */

/* What DATA/engine says, if it says something known; else NULL. */
const char *engine_recall(const char *data_dir);
/* -1 and errno. */
int engine_remember(const char *data_dir, const char *name);

#endif
