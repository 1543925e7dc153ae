/* The marker of an open store; see marker.h. */
#include "kvd/marker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "kvd/dirs.h"

#define MARKER "OPEN"
#define MARKER_BYTES_MAX 128u
#define CONDEMNED "damaged\n" /* instead of a boot id */

const char *marker_boot_id_path = "/proc/sys/kernel/random/boot_id";

/* Appended to out; nothing if the kernel does not tell: then a marker is never
 * taken for one of this boot. */
static void
read_boot_id(struct buf *out)
{
	uint8_t text[MARKER_BYTES_MAX];
	ssize_t n = -1;
	int fd = open(marker_boot_id_path, O_RDONLY | O_CLOEXEC);

	if (fd != -1) {
		n = read(fd, text, sizeof text);
		(void)close(fd); /* only read */
	}
	if (n > 0)
		buf_append(out, text, (size_t)n);
	else
		log_warn("cannot read the boot id; the store will be rebuilt "
			 "if it is not closed path=%s",
		    marker_boot_id_path);
}

/* Is what is in dir from this boot, or closed?  ERR_CORRUPT: it is damaged. */
static enum err
check(const char *dir, struct bytes boot_id, bool *trusted)
{
	struct buf marker = {0};
	enum err rc = ERR_OK;

	if (file_read(dir, MARKER, MARKER_BYTES_MAX, &marker) == 0) {
		*trusted =
		    boot_id.len > 0 && bytes_equal(buf_bytes(&marker), boot_id);
		if (bytes_equal(buf_bytes(&marker), bytes_of_str(CONDEMNED)))
			rc = ERR_CORRUPT;
	} else if (errno == ENOENT || errno == EFBIG) {
		*trusted = errno == ENOENT;
	} else {
		log_error("cannot read marker dir=%s name=" MARKER, dir);
		rc = ERR_IO;
	}
	buf_free(&marker);
	return rc;
}

static enum err
set(const char *dir, struct bytes boot_id, bool *discarded)
{
	bool trusted;
	enum err rc = check(dir, boot_id, &trusted);

	if (rc != ERR_OK)
		return rc;
	if (!trusted) {
		log_warnx("store was open when the machine stopped; it is "
			  "discarded and rebuilt dir=%s",
		    dir);
		/* The marker stays until the new one takes its place: what was
		 * begun is finished by the next start. */
		if (dirs_empty(dir, MARKER) == -1) {
			log_error("cannot remove the discarded store; remove "
				  "it by hand dir=%s",
			    dir);
			return ERR_IO;
		}
	}
	if (file_replace(dir, MARKER, boot_id) == -1) {
		log_error("cannot write marker dir=%s name=" MARKER, dir);
		return errno == ENOSPC ? ERR_NO_SPACE : ERR_IO;
	}
	*discarded = !trusted;
	return ERR_OK;
}

enum err
marker_set(const char *dir, bool *discarded)
{
	struct buf boot_id = {0};
	enum err rc;

	read_boot_id(&boot_id);
	rc = set(dir, buf_bytes(&boot_id), discarded);
	buf_free(&boot_id);
	return rc;
}

void
marker_condemn(const char *dir)
{
	if (file_replace(dir, MARKER, bytes_of_str(CONDEMNED)) == -1)
		log_error("cannot write marker dir=%s name=" MARKER, dir);
}

static char fault_path[4096];

/* What may be called here is little (signal-safety(7)).  If the marker is not
 * written whole it is no boot id either, and the store is discarded. */
static void
on_fault(int signo)
{
	static const char told[] =
	    "kvd: a page of the store cannot be read; it is damaged\n";
	const ssize_t bytes = (ssize_t)sizeof CONDEMNED - 1;
	int fd = open(fault_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	(void)!write(STDERR_FILENO, told, sizeof told - 1);
	if (fd != -1 && write(fd, CONDEMNED, (size_t)bytes) == bytes)
		(void)fsync(fd); /* if it fails the next one finds out again */
	/* Back to where the page is missing, which then ends the process. */
	(void)signal(signo, SIG_DFL);
}

void
marker_condemn_on_fault(const char *dir)
{
	struct sigaction act = {.sa_handler = on_fault};

	(void)snprintf(fault_path, sizeof fault_path, "%s/" MARKER, dir);
	(void)sigemptyset(&act.sa_mask);
	(void)sigaction(SIGBUS, &act, NULL); /* cannot fail: it is a signal */
}

bool
marker_will_be_known(void)
{
	struct buf boot_id = {0};
	bool known;

	read_boot_id(&boot_id);
	known = boot_id.len > 0;
	buf_free(&boot_id);
	return known;
}

enum err
marker_remove(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = -1;

	if (fd != -1)
		rc = unlinkat(fd, MARKER, 0);
	if (rc == 0)
		rc = fsync(fd);
	if (rc == -1)
		log_error("cannot remove marker dir=%s name=" MARKER, dir);
	if (fd != -1)
		(void)close(fd); /* nothing was written through it */
	return rc == 0 ? ERR_OK : ERR_IO;
}
