/* The little JSON the CNI plugin needs: finding a member of the top-level object, and writing a string. It never allocates. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct slice {
	const char *start;
	size_t len;
};

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/** Behind the string that begins at p, or NULL. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		if (*p == '\\')
			p++;
		else if (*p == '"')
			return p + 1;
	}
	return NULL;
}

/** Behind the value that begins at p, or NULL when it does not end. Nesting is counted, not checked for its kind. */
static const char *skip_value(const char *p, const char *end)
{
	int depth = 0;
	while (p < end) {
		if (*p == '"') {
			if (!(p = skip_string(p, end)))
				return NULL;
		} else if (*p == '{' || *p == '[') {
			depth++;
			p++;
		} else if (*p == '}' || *p == ']') {
			if (depth-- == 0)
				return p;
			p++;
		} else if (depth == 0 && (*p == ',' || *p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
			return p;
		} else {
			p++;
			continue;
		}
		if (depth == 0)
			return p;
	}
	return depth == 0 ? p : NULL;
}

/** The text of the member `name` of the object `json` (a string still with its quotes); empty when there is none. */
static struct slice json_member(struct slice json, const char *name)
{
	const struct slice none = { "", 0 };
	const char *end = json.start + json.len, *p = skip_space(json.start, end);
	if (p == end || *p++ != '{')
		return none;
	for (;;) {
		p = skip_space(p, end);
		const char *key = p;
		if (p == end || *p != '"' || !(p = skip_string(p, end)))
			return none;
		bool match = (size_t)(p - key - 2) == strlen(name) && !memcmp(key + 1, name, strlen(name));
		p = skip_space(p, end);
		if (p == end || *p++ != ':')
			return none;
		const char *value = p = skip_space(p, end);
		if (!(p = skip_value(p, end)))
			return none;
		if (match)
			return (struct slice){ value, p - value };
		p = skip_space(p, end);
		if (p == end || *p++ != ',')
			return none;
	}
}

/** Whether `json` is one whole object. */
static bool json_is_object(struct slice json)
{
	const char *end = json.start + json.len, *p = skip_space(json.start, end);
	if (p == end || *p != '{' || !(p = skip_value(p, end)))
		return false;
	return skip_space(p, end) == end;
}

/** A string member without its quotes into `into`, or `otherwise` when missing, too long or with escapes. */
static const char *json_text(struct slice json, const char *name, char *into, size_t size, const char *otherwise)
{
	struct slice value = json_member(json, name);
	if (value.len < 3 || value.start[0] != '"' || value.len - 2 >= size || memchr(value.start, '\\', value.len))
		return otherwise;
	memcpy(into, value.start + 1, value.len - 2);
	into[value.len - 2] = 0;
	return into;
}

static void json_put_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(out, "\\%c", *p);
		else if (*p < 0x20)
			fprintf(out, "\\u%04x", *p);
		else
			fputc(*p, out);
	}
	fputc('"', out);
}
