/* What this process uses of the machine; see process.h. */
#include "base/process.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* The number behind n blanks. */
static bool
number_at(const char *at, unsigned n, uint64_t *value)
{
	char *end;

	for (; n > 0; n--) {
		if ((at = strchr(at, ' ')) == NULL)
			return false;
		at++;
	}
	*value = strtoull(at, &end, 10);
	return end != at;
}

/* The first line of a file of /proc; false: it cannot be read. */
static bool
read_line(const char *path, char *out, int out_bytes)
{
	FILE *f = fopen(path, "re");
	bool ok = f != NULL && fgets(out, out_bytes, f) != NULL;

	if (f != NULL)
		(void)fclose(f);
	return ok;
}

static bool
resident_pages(uint64_t *pages)
{
	char text[256];

	return read_line("/proc/self/statm", text, sizeof text) &&
	       number_at(text, 1, pages);
}

/* The start of this process, in clock ticks since the machine's: field 22,
 * where field 2 may have anything in it, also blanks and brackets. */
static bool
start_ticks(uint64_t *ticks)
{
	char text[1024];
	const char *name_end;

	return read_line("/proc/self/stat", text, sizeof text) &&
	       (name_end = strrchr(text, ')')) != NULL &&
	       number_at(name_end, 20, ticks);
}

/* Computed once: the wall clock may be set, a start does not move. */
static uint64_t
start_time_ns(void)
{
	static uint64_t known;
	struct timespec wall, boot;
	uint64_t ticks, age;
	long hz = sysconf(_SC_CLK_TCK);

	if (known != 0 || hz <= 0 || !start_ticks(&ticks) ||
	    clock_gettime(CLOCK_REALTIME, &wall) == -1 ||
	    clock_gettime(CLOCK_BOOTTIME, &boot) == -1)
		return known;
	age = (uint64_t)boot.tv_sec * 1000000000u + (uint64_t)boot.tv_nsec -
	      ticks * (1000000000u / (uint64_t)hz);
	known =
	    (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec - age;
	return known;
}

/* -1: not known. */
static int64_t
open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int64_t n = -3; /* ".", ".." and the directory itself */

	if (d == NULL)
		return -1;
	while (readdir(d) != NULL)
		n++;
	(void)closedir(d);
	return n;
}

static uint64_t
timeval_ns(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

void
process_metrics(struct metrics *m, const struct process_names *names)
{
	struct rusage used;
	struct rlimit limit;
	uint64_t pages;
	int64_t fds = open_fds();
	long page = sysconf(_SC_PAGESIZE);

	if (getrusage(RUSAGE_SELF, &used) == 0) {
		metrics_family(m, names->cpu_seconds_total, METRICS_COUNTER,
		    "Processor time of this process, user and system.");
		metrics_seconds(m, NULL,
		    timeval_ns(used.ru_utime) + timeval_ns(used.ru_stime));
	}
	if (page > 0 && resident_pages(&pages))
		metrics_gauge(m, names->resident_memory_bytes,
		    "Memory of this process that is in RAM.",
		    pages * (uint64_t)page);
	if (fds >= 0)
		metrics_gauge(m, names->open_fds,
		    "Open file descriptors of this process.", (uint64_t)fds);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		metrics_gauge(m, names->max_fds,
		    "Limit on open file descriptors of this process.",
		    limit.rlim_cur);
	if (start_time_ns() != 0) {
		metrics_family(m, names->start_time_seconds, METRICS_GAUGE,
		    "Start of this process, seconds since 1970.");
		metrics_seconds(m, NULL, start_time_ns());
	}
}
