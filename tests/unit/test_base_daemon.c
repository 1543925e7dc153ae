/* base/daemon: options with environment twins, what --help and errors print,
 * the run directory.
 *
 * What may end the process runs in a child with its output caught. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/daemon.h"

#define ARGS_MAX 16
#define OUTPUT_BYTES 8192u

/* --- options --- */

struct settings {
	const char *data_dir;
	const char *run_dir;
	uint64_t id;
	bool join;
};

/* The program "raftd" with the arguments given, up to a NULL. */
static void
read_options(struct settings *s, const char *const *args, int *operands)
{
	const struct opt table[] = {
	    {"data-dir", OPT_STRING, &s->data_dir, 0, 0, "DIR", "all data"},
	    {"run-dir", OPT_STRING, &s->run_dir, 0, 0, "DIR", "sockets"},
	    {"id", OPT_U64, &s->id, 1, 32, "N", "this node"},
	    {"join", OPT_FLAG, &s->join, 0, 0, NULL, "join a cluster"},
	    {0},
	};
	static char words[ARGS_MAX][64];
	char *argv[ARGS_MAX + 1] = {words[0]};
	int argc = 1;

	*s = (struct settings){.data_dir = "./default", .id = 7};
	for (; args[argc - 1] != NULL; argc++) {
		(void)snprintf(
		    words[argc], sizeof words[0], "%s", args[argc - 1]);
		argv[argc] = words[argc];
	}
	daemon_options("raftd", "About it.", table, argc, argv, operands);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_ARGS ((const char *const[]){NULL})

static int
clear_environment(void **state)
{
	(void)state;
	return unsetenv("METCD_DATA_DIR") + unsetenv("METCD_RUN_DIR") +
	       unsetenv("METCD_ID") + unsetenv("METCD_JOIN") +
	       unsetenv("RUNTIME_DIRECTORY") + unsetenv("NOTIFY_SOCKET");
}

static void
defaults_stay_when_nothing_is_given(void **state)
{
	struct settings s;

	(void)state;
	read_options(&s, NO_ARGS, NULL);
	assert_string_equal(s.data_dir, "./default");
	assert_null(s.run_dir);
	assert_true(s.id == 7);
	assert_false(s.join);
}

static void
values_come_after_a_blank_or_an_equals_sign(void **state)
{
	struct settings s;

	(void)state;
	read_options(&s,
	    ARGS("--data-dir", "d", "--id=32", "--join", "--run-dir=a=b"),
	    NULL);
	assert_string_equal(s.data_dir, "d");
	assert_string_equal(s.run_dir, "a=b");
	assert_true(s.id == 32);
	assert_true(s.join);
}

static void
an_environment_twin_sets_an_option(void **state)
{
	struct settings s;

	(void)state;
	setenv("METCD_DATA_DIR", "/env", 1);
	setenv("METCD_ID", "3", 1);
	setenv("METCD_JOIN", "1", 1);
	read_options(&s, NO_ARGS, NULL);
	assert_string_equal(s.data_dir, "/env");
	assert_true(s.id == 3);
	assert_true(s.join);
}

static void
options_win_over_their_twins(void **state)
{
	struct settings s;

	(void)state;
	setenv("METCD_DATA_DIR", "/env", 1);
	setenv("METCD_JOIN", "1", 1);
	read_options(&s, ARGS("--data-dir", "/flag", "--join=0"), NULL);
	assert_string_equal(s.data_dir, "/flag");
	assert_false(s.join);
}

/* Files of EnvironmentFile= have lines such as METCD_ID= for "not set". */
static void
an_empty_twin_counts_as_not_set(void **state)
{
	struct settings s;

	(void)state;
	setenv("METCD_ID", "", 1);
	read_options(&s, NO_ARGS, NULL);
	assert_true(s.id == 7);
}

static void
operands_begin_where_options_end(void **state)
{
	struct settings s;
	int first = 0;

	(void)state;
	read_options(&s, ARGS("--id", "2", "word", "--id", "3"), &first);
	assert_int_equal(first, 3);
	assert_true(s.id == 2);
	read_options(&s, ARGS("--", "--id"), &first);
	assert_int_equal(first, 2);
	read_options(&s, ARGS("--join"), &first);
	assert_int_equal(first, 2);
}

/* --- what ends the process --- */

struct ended {
	int code;
	char out[OUTPUT_BYTES];
	char err[OUTPUT_BYTES];
};

static void
read_all(int fd, char *out)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, out + len, OUTPUT_BYTES - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	close(fd);
}

/* Run the program in a child; both outputs are far below a pipe's size. */
static void
run(struct ended *e, const char *const *args)
{
	struct settings s;
	int out[2];
	int err[2];
	int status;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe(err), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)dup2(out[1], STDOUT_FILENO);
		(void)dup2(err[1], STDERR_FILENO);
		read_options(&s, args, NULL);
		_exit(111);
	}
	close(out[1]);
	close(err[1]);
	read_all(out[0], e->out);
	read_all(err[0], e->err);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	e->code = WEXITSTATUS(status);
}

static void
assert_refused(const char *const *args, const char *named)
{
	struct ended e;

	run(&e, args);
	assert_int_equal(e.code, EX_USAGE);
	assert_string_equal(e.out, "");
	assert_non_null(strstr(e.err, named));
	assert_int_equal(strncmp(e.err, "raftd: ", 7), 0);
	assert_ptr_equal(strchr(e.err, '\n'), e.err + strlen(e.err) - 1);
}

static void
a_wrong_call_is_refused_with_one_line_that_names_it(void **state)
{
	(void)state;
	assert_refused(ARGS("--nonsense"), "--nonsense");
	assert_refused(ARGS("--dat", "x"), "--dat");
	assert_refused(ARGS("word"), "word");
	assert_refused(ARGS("-x"), "-x");
	assert_refused(ARGS("--id"), "--id needs a value");
	assert_refused(ARGS("--join=yes"), "--join");
}

static void
a_number_that_is_none_or_out_of_range_is_refused(void **state)
{
	(void)state;
	assert_refused(ARGS("--id", "0"), "--id");
	assert_refused(ARGS("--id", "33"), "from 1 to 32");
	assert_refused(ARGS("--id", ""), "--id");
	assert_refused(ARGS("--id", "-1"), "\"-1\"");
	assert_refused(ARGS("--id", " 1"), "--id");
	assert_refused(ARGS("--id", "1x"), "--id");
	assert_refused(ARGS("--id", "0x1"), "--id");
	/* 2^64 + 1, which is 1 to who does not check */
	assert_refused(ARGS("--id", "18446744073709551617"), "--id");
}

static void
a_bad_twin_is_refused_by_its_own_name(void **state)
{
	(void)state;
	setenv("METCD_ID", "many", 1);
	assert_refused(NO_ARGS, "METCD_ID");
}

static void
help_lists_options_defaults_twins_and_exit_codes(void **state)
{
	struct ended e;

	(void)state;
	run(&e, ARGS("--bad", "--help"));
	assert_int_equal(e.code, 0);
	assert_string_equal(e.err, "");
	assert_non_null(strstr(e.out, "About it."));
	assert_non_null(strstr(e.out, "--data-dir DIR"));
	assert_non_null(strstr(e.out, "default ./default, METCD_DATA_DIR"));
	assert_non_null(strstr(e.out, "default 7, METCD_ID"));
	assert_non_null(strstr(e.out, "(METCD_RUN_DIR)"));
	assert_non_null(strstr(e.out, "Exit codes:"));
	assert_non_null(strstr(e.out, "78"));
}

static void
version_is_name_and_number(void **state)
{
	struct ended e;

	(void)state;
	run(&e, ARGS("--version"));
	assert_int_equal(e.code, 0);
	assert_string_equal(e.out, "raftd " METCD_VERSION "\n");
}

/* --- the run directory --- */

static void
the_run_directory_is_the_given_one_or_systemds_or_in_the_data(void **state)
{
	char out[256];

	(void)state;
	assert_int_equal(daemon_run_dir(NULL, "d", out, sizeof out), 0);
	assert_string_equal(out, "d/run");
	setenv("RUNTIME_DIRECTORY", "/run/metcd:/run/other", 1);
	assert_int_equal(daemon_run_dir(NULL, "d", out, sizeof out), 0);
	assert_string_equal(out, "/run/metcd");
	assert_int_equal(daemon_run_dir("/r", "d", out, sizeof out), 0);
	assert_string_equal(out, "/r");
}

/* --- the service manager --- */

static void
readiness_is_told_to_the_notify_socket(void **state)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa_family_t);
	char address[sizeof name.sun_path + 1] = "";
	char text[64] = "";
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	daemon_ready(); /* no socket: nothing happens */
	assert_int_equal(bind(fd, (struct sockaddr *)&name, len), 0);
	len = sizeof name;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	memcpy(address, name.sun_path, len - sizeof(sa_family_t));
	address[0] = '@';
	setenv("NOTIFY_SOCKET", address, 1);
	daemon_ready();
	assert_int_equal(recv(fd, text, sizeof text - 1, 0), 7);
	assert_string_equal(text, "READY=1");
	daemon_status("nodes=%d", 3);
	assert_int_equal(recv(fd, text, sizeof text - 1, 0), 14);
	assert_string_equal(text, "STATUS=nodes=3");
	close(fd);
}

static void
random_numbers_are_never_zero_and_differ(void **state)
{
	uint64_t a = daemon_random();
	uint64_t b = daemon_random();

	(void)state;
	assert_true(a != 0);
	assert_true(a != b);
}

#define TEST(f) cmocka_unit_test_setup(f, clear_environment)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(defaults_stay_when_nothing_is_given),
	    TEST(values_come_after_a_blank_or_an_equals_sign),
	    TEST(an_environment_twin_sets_an_option),
	    TEST(options_win_over_their_twins),
	    TEST(an_empty_twin_counts_as_not_set),
	    TEST(operands_begin_where_options_end),
	    TEST(a_wrong_call_is_refused_with_one_line_that_names_it),
	    TEST(a_number_that_is_none_or_out_of_range_is_refused),
	    TEST(a_bad_twin_is_refused_by_its_own_name),
	    TEST(help_lists_options_defaults_twins_and_exit_codes),
	    TEST(version_is_name_and_number),
	    TEST(the_run_directory_is_the_given_one_or_systemds_or_in_the_data),
	    TEST(readiness_is_told_to_the_notify_socket),
	    TEST(random_numbers_are_never_zero_and_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
