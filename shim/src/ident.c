/* SPDX-License-Identifier: MIT */
/*
 * ident.c - is this fd ours? Read from the fd itself
 *
 * The router's end of each pair is bound to an abstract name (mlshim_proto.h), the app's end carries the shim's mark.
 * There is no table in the process, so fork, dup, exec, fd passing and close_range() need no rules.
 * Does not defend against a process that passes the app a pair with a forged name: who can do that owns the app.
 */
#include "shim.h"

#include <errno.h>
#include <sys/un.h>

#ifndef SO_MAX_PACING_RATE
#define SO_MAX_PACING_RATE 47
#endif

static int hex8(const char *s, uint32_t *value)
{
	uint32_t v = 0;

	for (int i = 0; i < 8; i++) {
		if (s[i] >= '0' && s[i] <= '9')
			v = v << 4 | (uint32_t)(s[i] - '0');
		else if (s[i] >= 'a' && s[i] <= 'f')
			v = v << 4 | (uint32_t)(s[i] - 'a' + 10);
		else
			return 0;
	}
	*value = v;
	return 1;
}

int ident_of(int fd, struct mls_id *id)
{
	struct sockaddr_un un;
	socklen_t len = sizeof(un);
	const char *name = un.sun_path;
	uint32_t session, number;

	if (sys(getpeername, fd, &un, &len) < 0)
		return 0;
	if (len < offsetof(struct sockaddr_un, sun_path) + MLS_NAME_LEN || un.sun_family != AF_UNIX || name[0] != 0)
		return 0;
	if (!mls_same(name + 1, MLS_NAME_PREFIX, sizeof(MLS_NAME_PREFIX) - 1) || name[7] != ':' || name[16] != ':')
		return 0;
	if (!hex8(name + 8, &session) || !hex8(name + 17, &number))
		return 0;
	id->kind = name[5];
	id->family = name[6] == '6' ? AF_INET6 : AF_INET;
	id->socket = (uint64_t)session << 32 | number;
	return 1;
}

uint64_t mark_of(int fd)
{
	uint64_t mark;
	socklen_t len = sizeof(mark);

	if (sys(getsockopt, fd, SOL_SOCKET, SO_MAX_PACING_RATE, &mark, &len) < 0)
		return 0;
	return len == sizeof(mark) && (mark & MARK_MAGIC_MASK) == MARK_MAGIC ? mark : 0;
}

int mark_set(int fd, uint64_t mark)
{
	return (int)sys(setsockopt, fd, SOL_SOCKET, SO_MAX_PACING_RATE, &mark, sizeof(mark));
}

uint64_t mark_new(const struct mls_id *id)
{
	return MARK_MAGIC | (uint64_t)(uint8_t)id->kind << MARK_KIND_SHIFT | (id->family == AF_INET6 ? MARK_V6 : 0);
}
