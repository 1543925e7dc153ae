/* Lists of those who wait for an answer; see asker.h. */
#include "httpd/asker.h"

#include <assert.h>
#include <stddef.h>

void
asker_add(struct askers *list, struct asker *a, struct mono deadline)
{
	assert(!a->waiting);
	a->token = ++list->token;
	a->deadline = deadline;
	a->waiting = true;
	a->prev = list->last;
	a->next = NULL;
	if (list->last != NULL)
		list->last->next = a;
	else
		list->first = a;
	list->last = a;
}

void
asker_remove(struct askers *list, struct asker *a)
{
	if (!a->waiting)
		return;
	a->waiting = false;
	if (a->prev != NULL)
		a->prev->next = a->next;
	else
		list->first = a->next;
	if (a->next != NULL)
		a->next->prev = a->prev;
	else
		list->last = a->prev;
}

struct asker *
asker_find(const struct askers *list, uint64_t token)
{
	struct asker *a = list->first;

	while (a != NULL && a->token != token)
		a = a->next;
	return a;
}

struct mono
asker_next(const struct askers *list)
{
	return list->first == NULL ? MONO_NEVER : list->first->deadline;
}
