#include <stdio.h>

#include "loader.h"

static bool has_before;

static void begin(const char *name)
{
	if (has_before)
		putchar(',');
	has_before = true;
	if (name != NULL)
		printf("\"%s\":", name);
}

static void print_escaped(const char *text)
{
	putchar('"');
	for (const unsigned char *c = (const unsigned char *)text; *c != 0; c++) {
		if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else if (*c == '\n')
			printf("\\n");
		else if (*c < 0x20 || *c >= 0x7f)
			printf("\\u%04x", *c);
		else
			putchar(*c);
	}
	putchar('"');
}

void json_open(const char *name, char bracket)
{
	begin(name);
	putchar(bracket);
	has_before = false;
}

void json_close(char bracket)
{
	putchar(bracket);
	has_before = true;
}

void json_text(const char *name, const char *value)
{
	begin(name);
	print_escaped(value);
}

void json_number(const char *name, unsigned long long value)
{
	begin(name);
	printf("%llu", value);
}

void json_bool(const char *name, bool value)
{
	begin(name);
	printf(value ? "true" : "false");
}
