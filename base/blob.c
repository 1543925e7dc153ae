/* Reference-counted bytes; see blob.h. */
#include "base/blob.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

struct blob *
blob_new(const void *data, size_t len)
{
	struct blob *b;

	assert(len <= UINT32_MAX);
	b = mem_alloc(sizeof *b + len);
	b->refs = 1;
	b->len = (uint32_t)len;
	if (data != NULL && len > 0)
		memcpy(b->data, data, len);
	return b;
}

struct blob *
blob_ref(struct blob *b)
{
	if (b == NULL)
		return NULL;
	assert(b->refs > 0);
	assert(b->refs < UINT32_MAX);
	b->refs++;
	return b;
}

void
blob_unref(struct blob **bp)
{
	struct blob *b = *bp;

	*bp = NULL;
	if (b == NULL)
		return;
	assert(b->refs > 0);
	if (--b->refs == 0)
		mem_free(b);
}

struct bytes
blob_bytes(const struct blob *b)
{
	if (b == NULL)
		return (struct bytes){NULL, 0};
	assert(b->refs > 0);
	return (struct bytes){b->data, b->len};
}
