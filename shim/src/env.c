/* SPDX-License-Identifier: MIT */
/*
 * env.c - the shim's settings
 *
 * MLSHIM_SOCKET (path of the router's socket) and MLSHIM_FAIL=open come from the environment. A program may have
 * scrubbed its own; then the one it was started with, which the kernel keeps in /proc/self/environ, answers.
 */
#include "shim.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>

extern char **environ __attribute__((weak));

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

int env_get(const char *name, char *buf, size_t room)
{
	size_t name_len = mls_len(name);

	if (is_secure())
		return -1;
	for (char **e = &environ ? environ : NULL; e && *e; e++) {
		const char *value = *e + name_len + 1;
		size_t n;

		/* Compared octet by octet: the entry may be shorter than the name. */
		for (n = 0; n < name_len && (*e)[n] == name[n]; n++)
			;
		if (n < name_len || (*e)[n] != '=')
			continue;
		n = mls_len(value);
		if (n >= room)
			n = room - 1;
		mls_copy(buf, value, n);
		buf[n] = 0;
		return (int)n;
	}
	return initial_env(name, buf, room);
}

int env_fail_open(void)
{
	char value[8];

	return env_get("MLSHIM_FAIL", value, sizeof(value)) == 4 && mls_same(value, "open", 4);
}
