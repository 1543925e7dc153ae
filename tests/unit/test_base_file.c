/* base/file: directories, locks between processes, atomic replacement. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/file.h"

#define LOG_BYTES 4096u

struct place {
	char dir[64];
	int stderr_kept;
	int log_fd;
};

static int
set_up(void **state)
{
	struct place *p = calloc(1, sizeof *p);

	if (p == NULL)
		return -1;
	(void)snprintf(p->dir, sizeof p->dir, "/tmp/metcd-unit-XXXXXX");
	*state = p;
	return mkdtemp(p->dir) == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	struct place *p = *state;
	char command[128];
	int rc;

	(void)snprintf(command, sizeof command, "rm -rf %s", p->dir);
	rc = system(command);
	free(p);
	return rc;
}

static const char *
under(const struct place *p, const char *name)
{
	static char path[256];

	(void)snprintf(path, sizeof path, "%s/%s", p->dir, name);
	return path;
}

/* What is logged goes to a file until log_text(). */
static void
log_catch(struct place *p)
{
	p->stderr_kept = dup(STDERR_FILENO);
	p->log_fd = open(p->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(p->log_fd >= 0);
	assert_int_equal(dup2(p->log_fd, STDERR_FILENO), STDERR_FILENO);
}

static const char *
log_text(struct place *p)
{
	static char text[LOG_BYTES];
	ssize_t n = pread(p->log_fd, text, sizeof text - 1, 0);

	assert_int_equal(dup2(p->stderr_kept, STDERR_FILENO), STDERR_FILENO);
	close(p->stderr_kept);
	close(p->log_fd);
	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static void
assert_one_line_with(const char *text, const char *part)
{
	assert_non_null(strstr(text, part));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

/* --- directories --- */

static void
missing_parents_are_made_with_the_mode(void **state)
{
	struct place *p = *state;
	struct stat st;

	assert_int_equal(file_make_dir(under(p, "a/b//c/"), 0700), 0);
	assert_int_equal(stat(under(p, "a/b/c"), &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(stat(under(p, "a"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(file_make_dir(under(p, "a/b/c"), 0700), 0);
}

static void
a_path_below_a_file_is_a_matter_of_configuration(void **state)
{
	struct place *p = *state;
	const char *text;
	int rc;

	assert_int_equal(file_replace(p->dir, "f", bytes_of_str("x")), 0);
	log_catch(p);
	rc = file_make_dir(under(p, "f/sub"), 0700);
	text = log_text(p);
	assert_int_equal(rc, EX_CONFIG);
	assert_one_line_with(text, under(p, "f/sub"));

	log_catch(p);
	rc = file_make_dir(under(p, "f"), 0700);
	text = log_text(p);
	assert_int_equal(rc, EX_CONFIG);
	assert_one_line_with(text, under(p, "f"));
}

static void
a_directory_that_cannot_be_made_is_a_matter_of_rights(void **state)
{
	struct place *p = *state;
	const char *text;
	int rc;

	log_catch(p);
	rc = file_make_dir("/proc/metcd", 0700);
	text = log_text(p);
	assert_int_equal(rc, EX_NOPERM);
	assert_one_line_with(text, "/proc/metcd");
}

/* --- locks --- */

/* Runs in a child: takes the lock, says so, and holds it until killed. */
static _Noreturn void
hold_lock(const char *dir, int told)
{
	int fd;

	(void)alarm(20); /* should the test be gone */
	if (file_lock(dir, "LOCK", &fd) != 0 || write(told, "L", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static pid_t
start_holder(const char *dir)
{
	int fds[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		hold_lock(dir, fds[1]);
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

static void
a_lock_held_by_another_process_is_refused_with_its_pid(void **state)
{
	struct place *p = *state;
	pid_t pid = start_holder(p->dir);
	char holder[32];
	const char *text;
	int fd = -1;
	int rc;

	log_catch(p);
	rc = file_lock(p->dir, "LOCK", &fd);
	text = log_text(p);
	assert_int_equal(rc, EX_TEMPFAIL);
	assert_int_equal(fd, -1);
	(void)snprintf(holder, sizeof holder, "process %d;", (int)pid);
	assert_one_line_with(text, holder);
	assert_one_line_with(text, p->dir);

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(file_lock(p->dir, "LOCK", &fd), 0);
	close(fd);
}

static void
a_lock_file_has_the_pid_of_its_holder(void **state)
{
	struct place *p = *state;
	struct buf text = {0};
	char mine[32];
	int fd;

	assert_int_equal(
	    file_replace(p->dir, "LOCK", bytes_of_str("123456789012\n")), 0);
	assert_int_equal(file_lock(p->dir, "LOCK", &fd), 0);
	assert_int_equal(file_read(p->dir, "LOCK", 64, &text), 0);
	(void)snprintf(mine, sizeof mine, "%d\n", (int)getpid());
	assert_true(bytes_equal(buf_bytes(&text), bytes_of_str(mine)));
	buf_free(&text);
	close(fd);
}

static void
a_lock_in_a_directory_that_is_not_there_is_refused(void **state)
{
	struct place *p = *state;
	const char *text;
	int fd = -1;
	int rc;

	log_catch(p);
	rc = file_lock(under(p, "none"), "LOCK", &fd);
	text = log_text(p);
	assert_int_equal(rc, EX_NOPERM);
	assert_one_line_with(text, under(p, "none"));
	assert_int_equal(fd, -1);
}

/* --- files --- */

static void
a_replaced_file_has_the_new_content_and_leaves_nothing_else(void **state)
{
	struct place *p = *state;
	struct buf text = {0};

	assert_int_equal(
	    file_replace(p->dir, "f", bytes_of_str("a longer text")), 0);
	assert_int_equal(file_replace(p->dir, "f", bytes_of("b\0b", 3)), 0);
	buf_append(&text, ">", 1);
	assert_int_equal(file_read(p->dir, "f", 3, &text), 0);
	assert_true(bytes_equal(buf_bytes(&text), bytes_of(">b\0b", 4)));
	assert_int_equal(access(under(p, "f.new"), F_OK), -1);
	buf_free(&text);
}

static void
a_failed_replacement_leaves_the_old_content(void **state)
{
	struct place *p = *state;
	struct buf text = {0};

	assert_int_equal(file_replace(p->dir, "f", bytes_of_str("old")), 0);
	assert_int_equal(mkdir(under(p, "f.new"), 0700), 0);
	assert_int_equal(file_replace(p->dir, "f", bytes_of_str("new")), -1);
	assert_int_equal(errno, EISDIR);
	assert_int_equal(file_read(p->dir, "f", 64, &text), 0);
	assert_true(bytes_equal(buf_bytes(&text), bytes_of_str("old")));
	buf_free(&text);
}

static void
a_file_larger_than_allowed_is_not_read(void **state)
{
	struct place *p = *state;
	struct buf text = {0};

	assert_int_equal(file_replace(p->dir, "f", bytes_of_str("1234")), 0);
	assert_int_equal(file_read(p->dir, "f", 3, &text), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(text.len, 0);
	assert_int_equal(file_read(p->dir, "f", 4, &text), 0);
	assert_int_equal(text.len, 4);
	buf_free(&text);
}

static void
a_missing_file_is_told_apart(void **state)
{
	struct place *p = *state;
	struct buf text = {0};

	assert_int_equal(file_read(p->dir, "none", 4, &text), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(file_sync_dir(under(p, "none")), -1);
	assert_int_equal(errno, ENOENT);
	buf_free(&text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(missing_parents_are_made_with_the_mode),
	    TEST(a_path_below_a_file_is_a_matter_of_configuration),
	    TEST(a_directory_that_cannot_be_made_is_a_matter_of_rights),
	    TEST(a_lock_held_by_another_process_is_refused_with_its_pid),
	    TEST(a_lock_file_has_the_pid_of_its_holder),
	    TEST(a_lock_in_a_directory_that_is_not_there_is_refused),
	    TEST(a_replaced_file_has_the_new_content_and_leaves_nothing_else),
	    TEST(a_failed_replacement_leaves_the_old_content),
	    TEST(a_file_larger_than_allowed_is_not_read),
	    TEST(a_missing_file_is_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
