/* Comparing what nodes say of their state; see compare.h. */
#include "cmd/metcdctl/compare.h"

#include <string.h>

#include "cmd/metcdctl/report.h"

/* What one node says. */
struct said {
	json_int_t node, applied, diverged_index;
	const char *hash;
	bool diverged;
	bool known; /* its kvd has answered */
};

static struct said
said_by(const json_t *status)
{
	const json_t *kv = json_object_get(status, "kv");
	struct said s = {
	    .node = json_integer_value(json_object_get(status, "id")),
	    .applied = json_integer_value(json_object_get(kv, "applied")),
	    .diverged_index =
		json_integer_value(json_object_get(kv, "diverged_index")),
	    .hash = json_string_value(json_object_get(kv, "hash")),
	    .diverged = json_is_true(json_object_get(kv, "diverged")),
	    .known = json_is_true(json_object_get(kv, "connected"))};

	if (s.hash == NULL)
		s.known = false;
	return s;
}

bool
compare_is_possible(const json_t *all)
{
	const struct said first = said_by(json_array_get(all, 0));

	for (size_t i = 0; i < json_array_size(all); i++) {
		const struct said s = said_by(json_array_get(all, i));

		if (!s.known || s.applied != first.applied)
			return false;
	}
	return true;
}

/* Nodes with the same applied index as the i-th: how many others there are,
 * and how many of them have another hash. */
static void
count_others(const json_t *all, size_t i, size_t *same, size_t *differ)
{
	const struct said mine = said_by(json_array_get(all, i));

	*same = *differ = 0;
	for (size_t k = 0; k < json_array_size(all); k++) {
		const struct said s = said_by(json_array_get(all, k));

		if (k == i || !s.known || s.applied != mine.applied)
			continue;
		if (strcmp(s.hash, mine.hash) == 0)
			(*same)++;
		else
			(*differ)++;
	}
}

static bool
compare_one(const json_t *all, size_t i, struct buf *out)
{
	const struct said s = said_by(json_array_get(all, i));
	size_t same, differ;
	bool well = true;

	if (!s.known) {
		report_text(out,
		    "node %" JSON_INTEGER_FORMAT ": its kvd is away\n", s.node);
		return true;
	}
	count_others(all, i, &same, &differ);
	if (differ > same) {
		report_text(out,
		    "HASH MISMATCH: node %" JSON_INTEGER_FORMAT
		    " differs from most nodes at applied=%" JSON_INTEGER_FORMAT
		    " hash=%s\n",
		    s.node, s.applied, s.hash);
		well = false;
	} else if (differ > 0) {
		well = false;
	}
	if (s.diverged) {
		report_text(out,
		    "DIVERGED: node %" JSON_INTEGER_FORMAT
		    " has found its state wrong at index=%" JSON_INTEGER_FORMAT
		    "; kvd --rebuild (metcdctl rebuild) there makes it anew\n",
		    s.node, s.diverged_index);
		well = false;
	}
	return well;
}

bool
compare_nodes(const json_t *all, struct buf *out)
{
	bool well = true;

	for (size_t i = 0; i < json_array_size(all); i++)
		well = compare_one(all, i, out) && well;
	if (!well)
		report_text(
		    out, "hashes: NOT EQUAL or not what they should be\n");
	else if (compare_is_possible(all))
		report_text(out,
		    "hashes: equal on %zu nodes at "
		    "applied=%" JSON_INTEGER_FORMAT "\n",
		    json_array_size(all),
		    said_by(json_array_get(all, 0)).applied);
	else
		report_text(out,
		    "hashes: not comparable, the nodes have not applied "
		    "the same\n");
	return well;
}
