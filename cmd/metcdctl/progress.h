/* A line on a terminal for what takes more than a moment; nothing elsewhere. */
#ifndef CMD_METCDCTL_PROGRESS_H
#define CMD_METCDCTL_PROGRESS_H

#include <stdint.h>

/* What is waited for, from now on; text is borrowed until progress_end(). */
void progress_begin(const char *text);
/* So much of it is done; without a word of it nobody knows how much is left. */
void progress_set(uint64_t done, uint64_t total);
void progress_tick(void); /* as often as one likes */
void progress_hide(void); /* until the next tick: something is written */
void progress_end(void);  /* the line is gone */

#endif
