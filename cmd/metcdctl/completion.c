/* The verb completion: scripts for shells, made from the tables of verbs and
 * options.  Each has the same three steps: find the words before the cursor
 * that are no options, nor the values of options; if an option waits for its
 * value, offer those; else offer what can follow the words. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cmd/metcdctl/options.h"
#include "cmd/metcdctl/report.h"
#include "cmd/metcdctl/verbs.h"

#define HELP_OPTIONS "--help"

/* --- lists --- */

/* " word": what a verb or a group is called after the words before. */
static const char *
last_word(const struct verb *v)
{
	const char *space = strchr(v->name, ' ');

	return space != NULL ? space + 1 : v->name;
}

/* A group is offered once, where its first verb stands. */
static bool
is_first_of_group(const struct verb *v)
{
	const size_t len = strcspn(v->name, " ");

	for (const struct verb *w = verbs_table; w != v; w++)
		if (strncmp(w->name, v->name, len + 1) == 0)
			return false;
	return true;
}

static void
add_first_words(struct buf *out)
{
	for (const struct verb *v = verbs_table; v->name != NULL; v++)
		if (verbs_words(v) == 1 || is_first_of_group(v))
			report_text(
			    out, "%.*s ", (int)strcspn(v->name, " "), v->name);
}

static void
add_options(struct buf *out, unsigned mask)
{
	for (const struct option *o = options_table; o->name != NULL; o++)
		if ((o->bit & mask) != 0)
			report_text(out, "%s ", o->name);
	report_text(out, HELP_OPTIONS);
}

/* "--a|--b": patterns of the options with a value. */
static void
add_valued(struct buf *out, const char *glue)
{
	const char *between = "";

	for (const struct option *o = options_table; o->name != NULL; o++) {
		if (o->value == NULL)
			continue;
		report_text(out, "%s%s", between, o->name);
		between = glue;
	}
}

static bool
is_directory(const struct option *o)
{
	return o->value != NULL && strcmp(o->value, "DIR") == 0;
}

/* text in single quotes; escape is what a quote inside becomes. */
static void
add_quoted(struct buf *out, const char *text, const char *escape)
{
	report_text(out, "'");
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			report_text(out, "%s", escape);
		else
			buf_append(out, text, 1);
	}
	report_text(out, "'");
}

/* --- bash --- */

/* bash takes HOST:PORT and --a=b apart at ':' and '='. */
static void
add_bash_words(struct buf *out)
{
	report_text(out,
	    "# bash completion of metcdctl; made by: metcdctl completion bash\n"
	    "_metcdctl()\n{\n"
	    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} verb= sub= skip= w i\n"
	    "\tlocal found=\n"
	    "\tCOMPREPLY=()\n"
	    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	    "\t\tw=${COMP_WORDS[i]}\n"
	    "\t\tcase $w in\n"
	    "\t\t=) continue ;;\n"
	    "\t\t:) skip=glue; continue ;;\n"
	    "\t\tesac\n"
	    "\t\tif [[ $skip ]]; then skip=; continue; fi\n"
	    "\t\tcase $w in\n\t\t");
	add_valued(out, "|");
	report_text(out, ") skip=$w ;;\n"
			 "\t\t-*) ;;\n"
			 "\t\t*) if [[ ! $verb ]]; then verb=$w\n"
			 "\t\t   elif [[ ! $sub ]]; then sub=$w; fi ;;\n"
			 "\t\tesac\n"
			 "\tdone\n"
			 "\t[[ $cur == [:=] ]] && cur=\n");
}

static void
add_bash_values(struct buf *out)
{
	report_text(out, "\tcase $skip in\n");
	for (const struct option *o = options_table; o->name != NULL; o++) {
		if (o->choices != NULL)
			report_text(out,
			    "\t%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); "
			    "return ;;\n",
			    o->name, o->choices);
		else if (is_directory(o))
			report_text(out,
			    "\t%s) COMPREPLY=($(compgen -d -- \"$cur\")); "
			    "return ;;\n",
			    o->name);
	}
	report_text(out, "\t?*) return ;;\n\tesac\n");
}

static void
add_bash_verb(struct buf *out, const struct verb *v)
{
	if (verbs_words(v) == 2 && is_first_of_group(v)) {
		report_text(out, "\t'%.*s ') found='",
		    (int)strcspn(v->name, " "), v->name);
		for (const struct verb *w = v; w->name != NULL; w++)
			if (strncmp(w->name, v->name,
				strcspn(v->name, " ") + 1) == 0)
				report_text(out, "%s ", last_word(w));
		report_text(out, HELP_OPTIONS "' ;;\n");
	}
	if (verbs_words(v) == 1 && v->choices != NULL) {
		report_text(out, "\t'%s ') found='%s ", v->name, v->choices);
		add_options(out, v->options);
		report_text(out, "' ;;\n");
	}
	report_text(out,
	    verbs_words(v) == 1 ? "\t'%s '*) found='" : "\t'%s') found='",
	    v->name);
	add_options(out, v->options);
	report_text(out, "' ;;\n");
}

static void
add_bash(struct buf *out)
{
	add_bash_words(out);
	add_bash_values(out);
	report_text(out, "\tcase \"$verb $sub\" in\n\t' ') found='");
	add_first_words(out);
	add_options(out, ~0u);
	report_text(out, " --version' ;;\n");
	for (const struct verb *v = verbs_table; v->name != NULL; v++)
		add_bash_verb(out, v);
	report_text(out, "\tesac\n"
			 "\tCOMPREPLY=($(compgen -W \"$found\" -- \"$cur\"))\n"
			 "}\n"
			 "complete -F _metcdctl metcdctl\n");
}

/* --- zsh --- */

#define ZSH_ESCAPE "'\\''"

static void
add_zsh_item(struct buf *out, const char *name, size_t len, const char *help)
{
	struct buf text = {0};

	report_text(&text, "%.*s:%s", (int)len, name, help);
	buf_append(&text, "", 1);
	report_text(out, " ");
	add_quoted(out, (const char *)text.data, ZSH_ESCAPE);
	buf_free(&text);
}

static void
add_zsh_options(struct buf *out, unsigned mask)
{
	for (const struct option *o = options_table; o->name != NULL; o++)
		if ((o->bit & mask) != 0)
			add_zsh_item(out, o->name, strlen(o->name), o->help);
	add_zsh_item(out, "--help", strlen("--help"), "print a help text");
}

static void
add_zsh_choices(struct buf *out, const char *choices)
{
	while (*choices != '\0') {
		size_t len = strcspn(choices, " ");

		report_text(out, " %.*s", (int)len, choices);
		choices += len + (choices[len] == ' ');
	}
}

static void
add_zsh_words(struct buf *out)
{
	report_text(out,
	    "#compdef metcdctl\n"
	    "# zsh completion of metcdctl; made by: metcdctl completion zsh\n"
	    "_metcdctl()\n{\n"
	    "\tlocal verb= sub= skip= w\n"
	    "\tlocal -a found\n"
	    "\tfor w in \"${(@)words[2,CURRENT-1]}\"; do\n"
	    "\t\tif [[ -n $skip ]]; then skip=; continue; fi\n"
	    "\t\tcase $w in\n\t\t(");
	add_valued(out, "|");
	report_text(out, ") skip=$w ;;\n"
			 "\t\t(-*) ;;\n"
			 "\t\t(*) if [[ -z $verb ]]; then verb=$w\n"
			 "\t\t    elif [[ -z $sub ]]; then sub=$w; fi ;;\n"
			 "\t\tesac\n"
			 "\tdone\n"
			 "\tcase $skip in\n");
	for (const struct option *o = options_table; o->name != NULL; o++) {
		if (o->choices != NULL)
			report_text(out, "\t(%s) compadd -- %s; return ;;\n",
			    o->name, o->choices);
		else if (is_directory(o))
			report_text(
			    out, "\t(%s) _files -/; return ;;\n", o->name);
	}
	report_text(out, "\t(?*) return 1 ;;\n\tesac\n");
}

static void
add_zsh_verb(struct buf *out, const struct verb *v)
{
	if (verbs_words(v) == 2 && is_first_of_group(v)) {
		report_text(out, "\t('%.*s ') found=(",
		    (int)strcspn(v->name, " "), v->name);
		for (const struct verb *w = v; w->name != NULL; w++)
			if (strncmp(w->name, v->name,
				strcspn(v->name, " ") + 1) == 0)
				add_zsh_item(out, last_word(w),
				    strlen(last_word(w)), w->help);
		report_text(out, " ) ;;\n");
	}
	if (verbs_words(v) == 1 && v->choices != NULL) {
		report_text(out, "\t('%s ') found=(", v->name);
		add_zsh_choices(out, v->choices);
		add_zsh_options(out, v->options);
		report_text(out, " ) ;;\n");
	}
	report_text(out,
	    verbs_words(v) == 1 ? "\t('%s '*) found=(" : "\t('%s') found=(",
	    v->name);
	add_zsh_options(out, v->options);
	report_text(out, " ) ;;\n");
}

static void
add_zsh(struct buf *out)
{
	add_zsh_words(out);
	report_text(out, "\tcase \"$verb $sub\" in\n\t(' ') found=(");
	for (const struct verb *v = verbs_table; v->name != NULL; v++) {
		if (verbs_words(v) == 1)
			add_zsh_item(out, v->name, strlen(v->name), v->help);
		else if (is_first_of_group(v))
			add_zsh_item(
			    out, v->name, strcspn(v->name, " "), "more verbs");
	}
	add_zsh_options(out, ~0u);
	report_text(out, " ) ;;\n");
	for (const struct verb *v = verbs_table; v->name != NULL; v++)
		add_zsh_verb(out, v);
	report_text(out, "\tesac\n"
			 "\t_describe -t words metcdctl found\n"
			 "}\n"
			 "if [[ $funcstack[1] == _metcdctl ]]; then\n"
			 "\t_metcdctl \"$@\"\n"
			 "else\n"
			 "\tcompdef _metcdctl metcdctl\n"
			 "fi\n");
}

/* --- fish --- */

#define FISH_ESCAPE "\\'"

static void
add_fish_offer(struct buf *out, const char *when, size_t when_len,
    const char *word, size_t len, const char *help)
{
	report_text(out,
	    "complete -c metcdctl -n '__metcdctl_after%s%.*s' "
	    "-a %.*s",
	    when_len > 0 ? " " : "", (int)when_len, when, (int)len, word);
	if (help != NULL) {
		report_text(out, " -d ");
		add_quoted(out, help, FISH_ESCAPE);
	}
	report_text(out, "\n");
}

static void
add_fish_option(struct buf *out, const struct verb *v, const struct option *o)
{
	const bool is_long = strncmp(o->name, "--", 2) == 0;

	report_text(out, "complete -c metcdctl -n '__metcdctl_in %s' -%c %s",
	    v->name, is_long ? 'l' : 's', o->name + (is_long ? 2 : 1));
	if (o->choices != NULL)
		report_text(out, " -x -a '%s'", o->choices);
	else if (is_directory(o))
		report_text(out, " -x -a '(__fish_complete_directories)'");
	else if (o->value != NULL)
		report_text(out, " -x");
	report_text(out, " -d ");
	add_quoted(out, o->help, FISH_ESCAPE);
	report_text(out, "\n");
}

static void
add_fish_words(struct buf *out)
{
	report_text(out,
	    "# fish completion of metcdctl; made by: metcdctl completion fish\n"
	    "function __metcdctl_words\n"
	    "\tset -l skip 0\n"
	    "\tfor w in (commandline -opc)[2..-1]\n"
	    "\t\tif test $skip = 1\n"
	    "\t\t\tset skip 0\n"
	    "\t\t\tcontinue\n"
	    "\t\tend\n"
	    "\t\tswitch $w\n"
	    "\t\t\tcase ");
	add_valued(out, " ");
	report_text(out, "\n"
			 "\t\t\t\tset skip 1\n"
			 "\t\t\tcase '-*'\n"
			 "\t\t\tcase '*'\n"
			 "\t\t\t\techo -- $w\n"
			 "\t\tend\n"
			 "\tend\n"
			 "end\n"
			 "function __metcdctl_after\n"
			 "\tset -l words (__metcdctl_words)\n"
			 "\ttest \"$words\" = \"$argv\"\n"
			 "end\n"
			 "function __metcdctl_in\n"
			 "\tset -l words (__metcdctl_words)\n"
			 "\tset -l n (count $argv)\n"
			 "\ttest \"$words[1..$n]\" = \"$argv\"\n"
			 "end\n"
			 "complete -c metcdctl -f\n");
}

static void
add_fish(struct buf *out)
{
	add_fish_words(out);
	for (const struct verb *v = verbs_table; v->name != NULL; v++) {
		const size_t first = strcspn(v->name, " ");

		if (verbs_words(v) == 1)
			add_fish_offer(out, "", 0, v->name, first, v->help);
		else if (is_first_of_group(v))
			add_fish_offer(
			    out, "", 0, v->name, first, "more verbs");
		if (verbs_words(v) == 2)
			add_fish_offer(out, v->name, first, last_word(v),
			    strlen(last_word(v)), v->help);
		if (v->choices != NULL)
			report_text(out,
			    "complete -c metcdctl -n '__metcdctl_after %s' "
			    "-a '%s'\n",
			    v->name, v->choices);
		for (const struct option *o = options_table; o->name != NULL;
		     o++)
			if ((o->bit & v->options) != 0)
				add_fish_option(out, v, o);
	}
	report_text(
	    out, "complete -c metcdctl -l help -d 'print a help text'\n");
}

/* --- the verb --- */

enum ctl_exit
verb_completion(const struct ctl *c)
{
	static const struct {
		const char *name;
		void (*add)(struct buf *out);
	} shells[] = {{"bash", add_bash}, {"zsh", add_zsh}, {"fish", add_fish}};
	struct buf out = {0};
	enum ctl_exit rc;

	for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
		if (strcmp(c->operands[0], shells[i].name) != 0)
			continue;
		shells[i].add(&out);
		rc = ctl_print(out.data, out.len);
		buf_free(&out);
		return rc;
	}
	ctl_error(
	    "a shell is bash, zsh or fish, not \"%.40s\"", c->operands[0]);
	return CTL_BAD_INPUT;
}
