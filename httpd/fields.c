/* JSON objects with known fields; see fields.h. */
#include "httpd/fields.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

#define NAME_SHOWN_MAX 32 /* characters of an unknown field's name */

static bool __attribute__((format(printf, 2, 3)))
wrong(char why[FIELDS_WHY_BYTES], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, FIELDS_WHY_BYTES, fmt, ap);
	va_end(ap);
	return false;
}

/* HOST:PORT, or [V6]:PORT, in printable characters. */
static bool
is_address(const char *s, size_t len)
{
	const char *port = strrchr(s, ':');
	size_t digits;

	if (strlen(s) != len || len > ADDRESS_BYTES_MAX || port == NULL ||
	    port == s)
		return false;
	for (const char *p = s; *p != '\0'; p++)
		if (*p <= ' ' || *p > '~' || strchr(",/\"\\", *p) != NULL)
			return false;
	if (memchr(s, ':', (size_t)(port - s)) != NULL &&
	    (s[0] != '[' || port[-1] != ']'))
		return false;
	digits = strspn(port + 1, "0123456789");
	if (digits < 1 || digits > 5 || port[1 + digits] != '\0')
		return false;
	return strtoul(port + 1, NULL, 10) >= 1 &&
	       strtoul(port + 1, NULL, 10) <= 65535;
}

static bool
read_one(const struct field *f, const json_t *v, char why[FIELDS_WHY_BYTES])
{
	const char *s = json_string_value(v); /* NULL: it is none */

	switch (f->kind) {
	case FIELD_ID:
		if (!json_is_integer(v) || json_integer_value(v) < 1)
			return wrong(why, "%s must be a whole number from 1 on",
			    f->name);
		*(uint64_t *)f->dst = (uint64_t)json_integer_value(v);
		return true;
	case FIELD_FLAG:
		if (!json_is_boolean(v))
			return wrong(why, "%s must be true or false", f->name);
		*(bool *)f->dst = json_is_true(v);
		return true;
	case FIELD_ADDRESS:
		if (s == NULL || !is_address(s, json_string_length(v)))
			return wrong(why,
			    "%s must be the text HOST:PORT, with a port from 1 "
			    "to 65535 and at most %u characters",
			    f->name, ADDRESS_BYTES_MAX);
		memcpy(f->dst, s, json_string_length(v) + 1);
		return true;
	case FIELD_PROMOTE:
		if (s == NULL ||
		    (strcmp(s, "auto") != 0 && strcmp(s, "manual") != 0))
			return wrong(
			    why, "%s must be \"auto\" or \"manual\"", f->name);
		*(bool *)f->dst = strcmp(s, "auto") == 0;
		return true;
	}
	return false;
}

/* "id, peer and promote" */
static void
list_names(const struct field *fields, char *out, size_t bytes)
{
	out[0] = '\0';
	for (const struct field *f = fields; f->name != NULL; f++) {
		size_t used = strlen(out);
		const char *glue = f == fields         ? ""
				   : f[1].name == NULL ? " and "
						       : ", ";

		(void)snprintf(out + used, bytes - used, "%s%s", glue, f->name);
	}
}

static bool
read_all(const struct field *fields, json_t *object, char why[FIELDS_WHY_BYTES])
{
	char known[128];
	const char *name;
	json_t *v;

	json_object_foreach(object, name, v)
	{
		const struct field *f = fields;

		while (f->name != NULL && strcmp(f->name, name) != 0)
			f++;
		if (f->name == NULL) {
			list_names(fields, known, sizeof known);
			return wrong(why, "unknown field %.*s; known: %s",
			    NAME_SHOWN_MAX, name, known);
		}
		if (!read_one(f, v, why))
			return false;
	}
	for (const struct field *f = fields; f->name != NULL; f++)
		if (f->required && json_object_get(object, f->name) == NULL)
			return wrong(why, "%s is missing", f->name);
	return true;
}

bool
fields_read(
    const struct field *fields, struct bytes body, char why[FIELDS_WHY_BYTES])
{
	json_error_t at;
	json_t *object;
	bool ok;

	if (body.len == 0)
		object = json_object();
	else
		object = json_loadb((const char *)body.data, body.len,
		    JSON_REJECT_DUPLICATES, &at);
	if (object == NULL)
		return wrong(why,
		    "the body is not JSON: line %d, column %d: "
		    "%.100s",
		    at.line, at.column, at.text);
	ok = json_is_object(object) ? read_all(fields, object, why)
				    : wrong(why, "the body must be a JSON "
						 "object: {...}");
	json_decref(object);
	return ok;
}
