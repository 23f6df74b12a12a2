/* SPDX-License-Identifier: MIT */
/*
 * host.c - gethostbyname() and its relatives
 *
 * The reentrant forms fill the caller's buffer; the old forms need static memory by their contract, which is the only
 * writable memory of this library (and as little thread-safe as the libc's).
 */
#include "shim.h"

#include <errno.h>
#include <netdb.h>

#define EAI_BASE    1000
#define ANSWER_ROOM 4096
#define MOST	    64

extern int *__h_errno_location(void) __attribute__((weak));

static struct hostent old_host;
static char old_room[4096];

static int h_errno_of(long r)
{
	switch (r + EAI_BASE) {
	case EAI_NONAME:
		return HOST_NOT_FOUND;
	case EAI_AGAIN:
		return TRY_AGAIN;
	case EAI_FAIL:
		return NO_RECOVERY;
	case -5: /* EAI_NODATA */
		return NO_DATA;
	}
	return r > -EAI_BASE ? NO_RECOVERY : TRY_AGAIN;
}

/* The caller's buffer, handed out piece by piece. */
struct pool {
	char *at;
	size_t left;
};

static void *take(struct pool *p, size_t n)
{
	size_t skip = -(uintptr_t)p->at & 7;
	char *out = p->at + skip;

	if (skip + n > p->left)
		return NULL;
	p->at = out + n;
	p->left -= skip + n;
	return out;
}

static int fill(struct hostent *h, struct pool *p, const char *name, int family, const uint8_t *addrs, int count)
{
	int size = family == AF_INET ? 4 : 16;
	char **list = take(p, ((size_t)count + 1) * sizeof(char *));
	char **aliases = take(p, sizeof(char *));
	char *own_name = take(p, mls_len(name) + 1);
	char *bytes = take(p, (size_t)(count * size));

	if (!list || !aliases || !own_name || !bytes)
		return ERANGE;
	mls_copy(own_name, name, mls_len(name) + 1);
	mls_copy(bytes, addrs, (size_t)(count * size));
	for (int i = 0; i < count; i++)
		list[i] = bytes + i * size;
	list[count] = NULL;
	aliases[0] = NULL;
	*h = (struct hostent){own_name, aliases, family, size, list};
	return 0;
}

EXPORT int gethostbyname2_r(const char *name, int family, struct hostent *h, char *buf, size_t n, struct hostent **res,
			    int *herr)
{
	char answer[ANSWER_ROOM + 1];
	struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_family = family, .ai_socktype = SOCK_STREAM};
	const struct mls_ai *ai = (const void *)answer;
	struct pool pool = {buf, n};
	uint8_t addrs[MOST * 16];
	struct chan_call c;
	const char *canon;
	int size = family == AF_INET ? 4 : 16, count = 0, e;
	long r;

	*res = NULL;
	if (family != AF_INET && family != AF_INET6) {
		*herr = NO_RECOVERY;
		return EAFNOSUPPORT;
	}
	c.room = answer;
	c.room_len = ANSWER_ROOM;
	r = resolve(&c, name, NULL, &hints);
	if (r <= 0) {
		*herr = r == 0 ? NO_DATA : h_errno_of(r);
		return *herr == TRY_AGAIN ? EAGAIN : 0;
	}
	answer[c.got_len] = 0;
	for (long i = 0; i < r && count < MOST && (size_t)(i + 1) * sizeof(*ai) <= c.got_len; i++) {
		size_t at = family == AF_INET ? 4 : 8; /* the address in sockaddr_in, sockaddr_in6 */

		if (((const struct sockaddr *)ai[i].addr)->sa_family == family)
			mls_copy(addrs + count++ * size, ai[i].addr + at, (size_t)size);
	}
	canon = (size_t)r * sizeof(*ai) < c.got_len ? answer + r * (long)sizeof(*ai) : "";
	e = fill(h, &pool, *canon ? canon : name, family, addrs, count);
	if (e) {
		*herr = NETDB_INTERNAL;
		return e;
	}
	*herr = NETDB_SUCCESS;
	*res = h;
	return 0;
}

EXPORT int gethostbyname_r(const char *name, struct hostent *h, char *buf, size_t n, struct hostent **res, int *herr)
{
	return gethostbyname2_r(name, AF_INET, h, buf, n, res, herr);
}

EXPORT int gethostbyaddr_r(const void *addr, socklen_t len, int family, struct hostent *h, char *buf, size_t n,
			   struct hostent **res, int *herr)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct pool pool = {buf, n};
	char text[1100];
	long r;
	int e;

	*res = NULL;
	*herr = NO_RECOVERY;
	if (family == AF_INET && len == 4)
		mls_copy(&in.sin_addr, addr, 4);
	else if (family == AF_INET6 && len == 16)
		mls_copy(&in6.sin6_addr, addr, 16);
	else
		return EINVAL;
	r = nameinfo(family == AF_INET ? (void *)&in : (void *)&in6, family == AF_INET ? sizeof(in) : sizeof(in6),
		     NI_NAMEREQD, text, sizeof(text));
	if (r < 0) {
		*herr = h_errno_of(r);
		return *herr == TRY_AGAIN ? EAGAIN : 0;
	}
	e = fill(h, &pool, text, family, addr, 1);
	if (e) {
		*herr = NETDB_INTERNAL;
		return e;
	}
	*herr = NETDB_SUCCESS;
	*res = h;
	return 0;
}

void host_error(int herr)
{
	if (&__h_errno_location)
		*__h_errno_location() = herr;
}

static struct hostent *old_result(struct hostent *res, int herr)
{
	host_error(herr);
	return res;
}

EXPORT struct hostent *gethostbyname2(const char *name, int family)
{
	struct hostent *res;
	int herr;

	gethostbyname2_r(name, family, &old_host, old_room, sizeof(old_room), &res, &herr);
	return old_result(res, herr);
}

EXPORT struct hostent *gethostbyname(const char *name)
{
	return gethostbyname2(name, AF_INET);
}

EXPORT struct hostent *gethostbyaddr(const void *addr, socklen_t len, int family)
{
	struct hostent *res;
	int herr;

	gethostbyaddr_r(addr, len, family, &old_host, old_room, sizeof(old_room), &res, &herr);
	return old_result(res, herr);
}
