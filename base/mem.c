/* Allocation that ends the process when memory is out; see mem.h. */
#include "base/mem.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sysexits.h>

#include "base/log.h"

/* _exit, not exit: handlers may want memory. */
static _Noreturn void
out_of_memory(size_t bytes)
{
	log_errorx("out of memory, ending bytes=%zu", bytes);
	_Exit(EX_TEMPFAIL);
}

/* count * bytes, at least 1; a product that does not fit is memory that is
 * not there. */
static size_t
size_of(size_t count, size_t bytes)
{
	size_t total;

	if (__builtin_mul_overflow(count, bytes, &total))
		out_of_memory(SIZE_MAX);
	return total == 0 ? 1 : total;
}

void *
mem_alloc(size_t bytes)
{
	void *p = malloc(size_of(1, bytes));

	if (p == NULL)
		out_of_memory(bytes);
	return p;
}

void *
mem_zalloc(size_t count, size_t bytes)
{
	size_t total = size_of(count, bytes);
	void *p = calloc(1, total);

	if (p == NULL)
		out_of_memory(total);
	return p;
}

void *
mem_resize(void *p, size_t count, size_t bytes)
{
	size_t total = size_of(count, bytes);

	p = realloc(p, total);
	if (p == NULL)
		out_of_memory(total);
	return p;
}

char *
mem_strdup(const char *s)
{
	size_t bytes = strlen(s) + 1;

	return memcpy(mem_alloc(bytes), s, bytes);
}

void
mem_free(void *p)
{
	free(p);
}

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

#ifdef __SANITIZE_ADDRESS__ /* which watches over malloc's memory alone */
void *
mem_zalloc_table(size_t bytes)
{
	return mem_zalloc(1, bytes);
}

void
mem_free_table(void *p, size_t bytes)
{
	(void)bytes;
	mem_free(p);
}
#else
void *
mem_zalloc_table(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		out_of_memory(bytes);
	if (bytes >= HUGE_PAGE_BYTES) /* a wish: small pages do as well */
		(void)madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

void
mem_free_table(void *p, size_t bytes)
{
	if (p != NULL)
		(void)munmap(p, bytes); /* its own: cannot fail */
}
#endif

void
mem_trim(void)
{
	(void)malloc_trim(0); /* whether there was any */
}
