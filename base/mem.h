/* Memory that is there or the process is not.
 *
 * metcd's queues are all bounded, so an allocation that fails means that the
 * machine has no memory left for us: there is nobody to tell.  These calls
 * never return NULL; when memory is out they log one line and end the process
 * with EX_TEMPFAIL, and the supervisor starts it again. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t bytes);                /* uninitialised */
void *mem_zalloc(size_t count, size_t bytes); /* zeroed; overflow-checked */
void *mem_resize(void *p, size_t count, size_t bytes); /* overflow-checked */
char *mem_strdup(const char *s);
void mem_free(void *p); /* NULL is allowed */

/* Zeroed memory for a table that is looked up here and there: whole pages of
 * its own, of the processor's huge ones if it is large enough for them and the
 * system lets us (Linux before 6.7 may put it where few or none fit), so that a
 * look-up does not miss the TLB as well.  Freed, it is the system's at once. */
void *mem_zalloc_table(size_t bytes);
void mem_free_table(void *p, size_t bytes); /* NULL is allowed */
/* All that was freed is the system's again, as far as whole pages go.  Takes
 * milliseconds. */
void mem_trim(void);

#endif
