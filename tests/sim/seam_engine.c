/* Storage engines of kvd: the real memory engine twice.  As "memory" it ends
 * with its process; as "lmdb" it outlives the process, not a power cut (then
 * kvd would discard the real one's directory, too).  Every write is looked at:
 * the state record in it must be what the log says. */
#include <assert.h>
#include <string.h>

#include "kvd/engine.h"
#include "kvd/record.h"
#include "tests/sim/sim.h"

extern const struct engine_ops real_engine_memory; /* sim.mk renames it */
/* Of kvd/check.h, which cannot be had here beside raftd's headers. */
struct check;
void check_applied(struct check *c, const struct state *s);
void sim_check_applied(struct check *c, const struct state *s);

static struct engine *kept[SIM_NODES_MAX + 1];    /* "lmdb" */
static struct engine *current[SIM_NODES_MAX + 1]; /* of the running kvd */
static struct engine *before[SIM_NODES_MAX + 1];  /* it loads another one */
static struct engine *loading[SIM_NODES_MAX + 1]; /* "lmdb" */
static uint64_t opened_by[SIM_NODES_MAX + 1];     /* life of its kvd */

static void
look_at(struct bytes record)
{
	struct state state;
	struct model_state st;
	struct wire w;

	wire_decode(&w, record);
	if (state_wire(&w, &state) != ERR_OK) {
		violate("kvd wrote a state that cannot be decoded");
		return;
	}
	st = (struct model_state){.revision = state.revision,
	    .keys = state.keys,
	    .bytes = state.bytes};
	model_check_state(sim.current->node, state.applied, &st, state.hash);
}

static void
look_at_all(const struct engine_write *writes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes_equal(writes[i].name, record_name_state()))
			look_at(writes[i].record);
}

/* After each entry. */
void
sim_check_applied(struct check *c, const struct state *s)
{
	struct model_state st = {
	    .revision = s->revision, .keys = s->keys, .bytes = s->bytes};

	model_check_state(sim.current->node, s->applied, &st, s->hash);
	check_applied(c, s);
}

/* ---- memory ---- */

static enum err
memory_open(struct engine **ep, const char *dir)
{
	enum err rc = real_engine_memory.open(ep, dir);
	struct proc *p = sim.current;

	before[p->node] =
	    opened_by[p->node] == p->life ? current[p->node] : NULL;
	opened_by[p->node] = p->life;
	current[p->node] = *ep;
	return rc;
}

static enum err
memory_write(struct engine *e, const struct engine_write *writes, size_t n)
{
	look_at_all(writes, n);
	return real_engine_memory.write(e, writes, n);
}

static enum err
pass_sync(struct engine *e)
{
	return real_engine_memory.sync(e);
}

static enum err
pass_get(struct engine *e, struct bytes name, struct bytes *record)
{
	return real_engine_memory.get(e, name, record);
}

static enum err
pass_scan(struct engine *e, struct bytes prefix, struct bytes from,
    struct engine_iter **ip)
{
	return real_engine_memory.scan(e, prefix, from, ip);
}

static enum err
pass_next(struct engine_iter *i, struct bytes *name, struct bytes *record)
{
	return real_engine_memory.scan_next(i, name, record);
}

static void
pass_scan_close(struct engine_iter *i)
{
	real_engine_memory.scan_close(i);
}

static void
memory_close(struct engine *e)
{
	if (current[sim.current->node] == e)
		current[sim.current->node] = before[sim.current->node];
	real_engine_memory.close(e);
}

const struct engine_ops engine_memory = {.name = "memory",
    .open = memory_open,
    .write = memory_write,
    .sync = pass_sync,
    .get = pass_get,
    .scan = pass_scan,
    .scan_next = pass_next,
    .scan_close = pass_scan_close,
    .close = memory_close};

/* ---- lmdb: its memory is the simulator's ---- */

static enum err
lmdb_open(struct engine **ep, const char *dir)
{
	struct proc *p = sim.current;
	enum err rc = ERR_OK;

	sim.current = NULL;
	if (loading[p->node] != NULL) /* of a life that ended */
		real_engine_memory.close(loading[p->node]);
	loading[p->node] = NULL;
	if (opened_by[p->node] == p->life) {
		rc = real_engine_memory.open(&loading[p->node], dir);
		*ep = loading[p->node];
	} else {
		if (kept[p->node] == NULL)
			rc = real_engine_memory.open(&kept[p->node], dir);
		*ep = current[p->node] = kept[p->node];
	}
	opened_by[p->node] = p->life;
	sim.current = p;
	return rc;
}

static enum err
lmdb_write(struct engine *e, const struct engine_write *writes, size_t n)
{
	struct proc *p = sim.current;
	enum err rc;

	look_at_all(writes, n);
	sim.current = NULL;
	rc = real_engine_memory.write(e, writes, n);
	sim.current = p;
	return rc;
}

static void
lmdb_close(struct engine *e)
{
	struct proc *p = sim.current;
	unsigned n = p->node;

	sim.current = NULL;
	if (e == loading[n]) {
		real_engine_memory.close(e);
		loading[n] = NULL;
	} else if (loading[n] != NULL) { /* it takes its place */
		real_engine_memory.close(e);
		kept[n] = current[n] = loading[n];
		loading[n] = NULL;
	}
	sim.current = p;
}

const struct engine_ops engine_lmdb = {.name = "lmdb",
    .open = lmdb_open,
    .write = lmdb_write,
    .sync = pass_sync,
    .get = pass_get,
    .scan = pass_scan,
    .scan_next = pass_next,
    .scan_close = pass_scan_close,
    .close = lmdb_close};

const struct engine_ops engine_leveldb = {.name = "leveldb"};

/* ---- the world's side ---- */

void
engines_power_cut(unsigned node)
{
	if (kept[node] != NULL)
		real_engine_memory.close(kept[node]);
	kept[node] = NULL;
	if (loading[node] != NULL)
		real_engine_memory.close(loading[node]);
	loading[node] = NULL;
}

void
engines_reset(void)
{
	for (unsigned i = 0; i <= SIM_NODES_MAX; i++)
		engines_power_cut(i);
	memset(current, 0, sizeof(current));
	memset(before, 0, sizeof(before));
	memset(opened_by, 0, sizeof(opened_by));
}

/* The keys of a node at the end of a run are those of the model. */
void
engine_check_keys(unsigned node)
{
	struct bytes prefix = bytes_of_str(RECORD_KEY_PREFIX), name, record;
	struct engine_iter *i;
	uint64_t keys = 0;

	if (real_engine_memory.scan(current[node], prefix, prefix, &i) !=
	    ERR_OK)
		return;
	while (real_engine_memory.scan_next(i, &name, &record) == ERR_OK) {
		struct key_record r;
		struct wire w;

		wire_decode(&w, record);
		if (key_record_wire(&w, &r) != ERR_OK)
			violate("node %u has a damaged key", node);
		model_check_key(node, bytes_of(name.data + 1, name.len - 1),
		    r.create_revision, r.mod_revision, r.version, r.value);
		keys++;
	}
	real_engine_memory.scan_close(i);
	model_check_key_count(node, keys);
}
