/* SPDX-License-Identifier: MIT */
/*
 * names.c - getaddrinfo() and getnameinfo()
 *
 * The libc's resolver never calls a function that could be interposed, so the names are taken here: the router resolves
 * over the right uplink. A result list is one mapping of its own; freeaddrinfo() unmaps it.
 */
#include "shim.h"

#include <errno.h>
#include <netdb.h>
#include <sys/mman.h>

#define EAI_BASE    1000 /* result = EAI_* - 1000 */
#define ANSWER_ROOM 16384
#define BLOCK_MAGIC 0x6d6c736164647231ULL
#define BLOCK_HEAD  32 /* before the first struct addrinfo, so that foreign pointers are told apart */
#define HINTS_NONE  (AI_V4MAPPED | AI_ADDRCONFIG)

struct block {
	uint64_t magic, length, pad[2];
};
_Static_assert(sizeof(struct block) == BLOCK_HEAD, "struct block");

void *map_block(size_t n)
{
	long p = sys(mmap, NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p < 0 && p > -4096 ? NULL : (void *)p;
}

static int eai_of(long r)
{
	if (r <= -EAI_BASE - 1)
		return (int)(r + EAI_BASE);
	sys_result(r);
	return EAI_SYSTEM;
}

/* The list in `block` from the router's answer; the answer's bytes follow it in the same mapping. */
static struct addrinfo *build_list(struct block *block, const struct chan_call *c, const struct addrinfo *hints)
{
	struct addrinfo *list = (struct addrinfo *)(block + 1);
	const struct mls_ai *ai = c->room;
	size_t n = (size_t)c->rep.result, names = n * sizeof(*ai);
	const char *canon = (const char *)c->room + names;

	for (size_t i = 0; i < n; i++) {
		list[i] = (struct addrinfo){
		    .ai_flags = hints ? hints->ai_flags : HINTS_NONE,
		    .ai_family = ((const struct sockaddr *)ai[i].addr)->sa_family,
		    .ai_socktype = ai[i].socktype,
		    .ai_protocol = ai[i].protocol,
		    .ai_addrlen = ai[i].addr_len,
		    .ai_addr = (struct sockaddr *)ai[i].addr,
		    .ai_next = i + 1 < n ? &list[i + 1] : NULL,
		};
	}
	if (hints && (hints->ai_flags & AI_CANONNAME) && names < c->got_len && *canon)
		list[0].ai_canonname = (char *)canon;
	return list;
}

/* Asks the router; the answer (struct mls_ai[] + canonical name) in c->room. A count, or -errno, or EAI_* - EAI_BASE. */
long resolve(struct chan_call *c, const char *host, const char *service, const struct addrinfo *hints)
{
	char names[1024 + 64];
	size_t h = host ? mls_len(host) : 0, s = service ? mls_len(service) : 0;
	void *room = c->room;
	size_t room_len = c->room_len;

	if (h > 1023 || s > 61)
		return EAI_NONAME - EAI_BASE;
	chan_init(c, MLS_RESOLVE, NULL);
	c->room = room;
	c->room_len = room_len;
	mls_copy(names, host ? host : "", h + 1);
	mls_copy(names + h + 1, service ? service : "", s + 1);
	c->payload = names;
	c->req.payload_len = (uint32_t)(h + s + 2);
	c->req.arg[0] = hints ? hints->ai_family : AF_UNSPEC;
	c->req.arg[1] = hints ? hints->ai_socktype : 0;
	c->req.arg[2] = hints ? hints->ai_protocol : 0;
	c->req.arg[3] = hints ? hints->ai_flags : HINTS_NONE;
	return chan_do(c);
}

EXPORT int getaddrinfo(const char *restrict host, const char *restrict service, const struct addrinfo *restrict hints,
		       struct addrinfo **restrict res)
{
	size_t most = ANSWER_ROOM / sizeof(struct mls_ai);
	size_t lists = sizeof(struct block) + most * sizeof(struct addrinfo);
	struct chan_call c;
	struct block *block;
	long r;

	if (host == NULL && service == NULL)
		return EAI_NONAME;
	if (hints && (hints->ai_flags & AI_CANONNAME) && host == NULL)
		return EAI_BADFLAGS;
	block = map_block(lists + ANSWER_ROOM);
	if (block == NULL)
		return EAI_MEMORY;
	*block = (struct block){.magic = BLOCK_MAGIC, .length = lists + ANSWER_ROOM};
	c.room = (char *)block + lists;
	c.room_len = ANSWER_ROOM - 1; /* the zero after it ends any name */
	r = resolve(&c, host, service, hints);
	if (r > 0 && (size_t)r <= most && c.got_len >= (size_t)r * sizeof(struct mls_ai)) {
		*res = build_list(block, &c, hints);
		return 0;
	}
	sys(munmap, block, lists + ANSWER_ROOM);
	return r >= 0 ? EAI_NONAME : eai_of(r);
}

EXPORT void freeaddrinfo(struct addrinfo *list)
{
	struct block *block = (struct block *)list - 1;

	/* A list the libc made for itself would not begin so; it is left alone. */
	if (list && ((uintptr_t)list & 4095) == BLOCK_HEAD && block->magic == BLOCK_MAGIC)
		sys(munmap, block, block->length);
}

/* glibc's asynchronous form, answered before it returns: gai_error() and gai_suspend() then find all done. */
struct gaicb_abi {
	const char *name, *service;
	const struct addrinfo *request;
	struct addrinfo *result;
	int status;
};

struct sigevent_abi {
	void *value;
	int signo, notify;
	void (*function)(void *);
};

EXPORT int
mls_getaddrinfo_a(int mode, struct gaicb_abi **list, int n,
		  struct sigevent_abi *event) __asm__("getaddrinfo_a"); /* by label: musl has no such types */

EXPORT int mls_getaddrinfo_a(int mode, struct gaicb_abi **list, int n, struct sigevent_abi *event)
{
	struct {
		int signo, error, code, pad, pid, uid;
		void *value;
		char rest[128 - 32];
	} info = {0};

	(void)mode;
	for (int i = 0; i < n; i++)
		if (list[i])
			list[i]->status =
			    getaddrinfo(list[i]->name, list[i]->service, list[i]->request, &list[i]->result);
	if (event && event->notify == 2) { /* SIGEV_THREAD */
		event->function(event->value);
	} else if (event && event->notify == 0) { /* SIGEV_SIGNAL */
		info.signo = event->signo;
		info.code = -60; /* SI_ASYNCNL */
		info.pid = (int)sys(getpid);
		info.uid = (int)sys(getuid);
		info.value = event->value;
		sys(rt_sigqueueinfo, info.pid, event->signo, &info);
	}
	return 0;
}

static int put_name(char *out, socklen_t room, const char *name)
{
	size_t n = mls_len(name) + 1;

	if (out == NULL || room == 0)
		return 0;
	if (n > room)
		return EAI_OVERFLOW;
	mls_copy(out, name, n);
	return 0;
}

/* host and service of an address in text[room]; 0, -errno or EAI_* - EAI_BASE. */
long nameinfo(const struct sockaddr *addr, socklen_t len, int flags, char *text, size_t room)
{
	struct chan_call c;
	long r;

	chan_init(&c, MLS_NAMEINFO, NULL);
	c.req.addr_len = (uint16_t)(len > sizeof(struct sockaddr_in6) ? sizeof(struct sockaddr_in6) : len);
	c.addr = addr;
	c.req.arg[0] = flags;
	c.room = text;
	c.room_len = room - 2;
	mls_zero(text, room);
	r = chan_do(&c);
	return r > 0 ? 0 : r;
}

EXPORT int getnameinfo(const struct sockaddr *restrict addr, socklen_t len, char *restrict host, socklen_t host_room,
		       char *restrict service, socklen_t service_room, int flags)
{
	char text[1100];
	int e;
	long r;

	if (len < sizeof(sa_family_t) || (addr->sa_family == AF_INET && len < sizeof(struct sockaddr_in)) ||
	    (addr->sa_family == AF_INET6 && len < 24) || (addr->sa_family != AF_INET && addr->sa_family != AF_INET6))
		return EAI_FAMILY;
	if ((host == NULL || host_room == 0) && (service == NULL || service_room == 0))
		return EAI_NONAME;
	r = nameinfo(addr, len, flags, text, sizeof(text));
	if (r < 0)
		return eai_of(r);
	e = put_name(host, host_room, text);
	return e ? e : put_name(service, service_room, text + mls_len(text) + 1);
}
