/* SPDX-License-Identifier: MIT */
/*
 * env.c - the shim's settings
 *
 * MLSHIM_SOCKET (path of the router's socket), MLSHIM_FAIL=open, MLSHIM_ROUTING=1 and our place in LD_PRELOAD come from the
 * environment. A
 * program may scrub its own; then the one it was started with, which the kernel keeps in /proc/self/environ, answers.
 * nginx scrubs one and overwrites the other with its title: what the first request found is therefore remembered. This
 * is written once and always with the same octets, so threads, forks and vfork children cannot disagree about it.
 */
#include "shim.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>

extern char **environ __attribute__((weak));

static const char names[][16] = {"MLSHIM_SOCKET", "MLSHIM_FAIL", "MLSHIM_ROUTING", "LD_PRELOAD"};
static char remembered[ARRAY_LEN(names)][512];
/* 0 = nobody has asked yet; written with the same value by whoever asks first. */
static char routing_known;

/*
 * Did this program gain privileges by exec? AT_SECURE is the kernel's answer; to ask it costs three calls, so the cheap
 * sign (an effective id that a non-root real user does not have) is looked at first.
 */
static int is_secure(void)
{
	struct {
		uint64_t type, value;
	} aux[64];
	long uid = sys(getuid), fd, n;

	if (uid == 0 || (uid == sys(geteuid) && sys(getgid) == sys(getegid)))
		return 0;
	fd = sys(openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 1;
	n = sys(read, fd, aux, sizeof(aux));
	sys(close, fd);
	for (long i = 0; i < n / (long)sizeof(aux[0]); i++)
		if (aux[i].type == AT_SECURE)
			return aux[i].value != 0;
	return 1;
}

/* One pass over the environment the program was started with, never more than a small window of it in memory. */
static int initial_env(const char *name, char *buf, size_t room)
{
	char window[512];
	size_t matched = 0, out = 0, name_len = mls_len(name);
	enum { START, SKIP, VALUE } at = START;
	long n, fd = sys(openat, AT_FDCWD, "/proc/self/environ", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	while ((n = sys(read, fd, window, sizeof(window))) > 0) {
		for (long i = 0; i < n; i++) {
			char c = window[i];

			if (at == VALUE) {
				if (out < room)
					buf[out] = c;
				if (c == 0) {
					sys(close, fd);
					buf[room - 1] = 0;
					return (int)(out < room ? out : room - 1);
				}
				out++;
			} else if (c == 0) {
				at = START;
				matched = 0;
			} else if (at == START) {
				if (matched == name_len)
					at = c == '=' ? VALUE : SKIP;
				else if (c == name[matched])
					matched++;
				else
					at = SKIP;
			}
		}
	}
	sys(close, fd);
	return -1;
}

/* Compared octet by octet: the entry may be shorter than the name. */
static const char *value_of(const char *entry, const char *name)
{
	while (*name && *entry == *name)
		entry++, name++;
	return *name == 0 && *entry == '=' ? entry + 1 : NULL;
}

static int copy_value(const char *value, char *buf, size_t room)
{
	size_t n = mls_len(value);

	if (n >= room)
		n = room - 1;
	mls_copy(buf, value, n);
	buf[n] = 0;
	return (int)n;
}

static int look_up(const char *name, char *buf, size_t room)
{
	const char *value;

	for (char **e = &environ ? environ : NULL; e && *e; e++) {
		value = value_of(*e, name);
		if (value)
			return copy_value(value, buf, room);
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (remembered[i][0] && mls_len(name) == mls_len(names[i]) && mls_same(name, names[i], mls_len(name)))
			return copy_value(remembered[i], buf, room);
	return initial_env(name, buf, room);
}

int env_get(const char *name, char *buf, size_t room)
{
	return is_secure() ? -1 : look_up(name, buf, room);
}

void env_remember(void)
{
	char value[sizeof(remembered[0])];

	if (remembered[0][0])
		return;
	for (size_t i = ARRAY_LEN(names); i-- > 0;)
		if (look_up(names[i], value, sizeof(value)) > 0)
			copy_value(value, remembered[i], sizeof(remembered[i]));
}

int env_fail_open(void)
{
	char value[8];

	return env_get("MLSHIM_FAIL", value, sizeof(value)) == 4 && mls_same(value, "open", 4);
}

int env_is_routing(void)
{
	enum { UNKNOWN, NO, YES };
	char value[4];

	if (routing_known == UNKNOWN)
		routing_known = env_get("MLSHIM_ROUTING", value, sizeof(value)) == 1 && value[0] == '1' ? YES : NO;
	return routing_known == YES;
}
