/* SPDX-License-Identifier: MIT */
/*
 * resolv.c - the resolver library: res_query(), res_search(), res_send() and relatives
 *
 * Read first: RFC 1035 §4 (messages), resolver(3). Questions go to the name servers of the host's resolver file through
 * sockets of our own, so the router sends them over the right uplink. The state argument of the res_n* forms is not
 * looked at: its layout is private to a libc. EDNS, and options of the file other than ndots, are not done here.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>

#define HEADER	     12
#define NAME_MOST    255
#define SERVERS_MOST 3
#define SEARCH_MOST  256
#define TRIES	     2
#define WAIT_MS	     5000

struct conf {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} server[SERVERS_MOST];
	int servers, ndots;
	char search[SEARCH_MOST]; /* domains, each ended by a zero, an empty one last */
};

static long fail(int herr)
{
	host_error(herr);
	return -1;
}

/* ---- the resolver file ---- */

static int word(const char **p, const char *end, char *out, size_t room)
{
	size_t n = 0;

	while (*p < end && (**p == ' ' || **p == '\t'))
		(*p)++;
	while (*p < end && **p != ' ' && **p != '\t' && n + 1 < room)
		out[n++] = *(*p)++;
	out[n] = 0;
	return n > 0;
}

static int equals(const char *a, const char *b)
{
	size_t n = mls_len(b) + 1;

	return mls_len(a) + 1 == n && mls_same(a, b, n);
}

static void add_server(struct conf *c, const char *text)
{
	char room[256];
	struct chan_call call;
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_DGRAM};
	const struct mls_ai *ai = (const void *)room;

	call.room = room;
	call.room_len = sizeof(room);
	if (c->servers < SERVERS_MOST && resolve(&call, text, "53", &hints) > 0 && ai->addr_len <= sizeof(c->server[0]))
		mls_copy(&c->server[c->servers++], ai->addr, ai->addr_len);
}

static void read_line(struct conf *c, const char *p, const char *end)
{
	char key[16], value[NAME_MOST + 1];
	size_t at = 0;

	if (!word(&p, end, key, sizeof(key)))
		return;
	if (equals(key, "nameserver") && word(&p, end, value, sizeof(value))) {
		add_server(c, value);
	} else if (equals(key, "search") || equals(key, "domain")) {
		while (word(&p, end, value, sizeof(value)) && at + mls_len(value) + 2 < SEARCH_MOST) {
			mls_copy(c->search + at, value, mls_len(value) + 1);
			at += mls_len(value) + 1;
		}
		c->search[at] = 0;
	} else if (equals(key, "options")) {
		while (word(&p, end, value, sizeof(value)))
			if (mls_same(value, "ndots:", 6))
				c->ndots = value[6] >= '0' && value[6] <= '9' ? value[6] - '0' : 1;
	}
}

static void read_conf(struct conf *c)
{
	char text[4096];
	long fd = sys(openat, AT_FDCWD, "/etc/resolv.conf", O_RDONLY | O_CLOEXEC), n = 0;
	const char *line = text;

	mls_zero(c, sizeof(*c));
	c->ndots = 1;
	if (fd >= 0) {
		n = sys(read, fd, text, sizeof(text) - 1);
		sys(close, fd);
	}
	if (n < 0)
		n = 0;
	text[n] = '\n';
	for (const char *p = text; p <= text + n; p++)
		if (*p == '\n') {
			read_line(c, line, p);
			line = p + 1;
		}
	if (c->servers == 0)
		add_server(c, "127.0.0.1");
}

/* ---- one question ---- */

static long wait_for(int fd, int events)
{
	struct pollfd p = {.fd = fd, .events = (short)events};
	int64_t limit[2] = {WAIT_MS / 1000, WAIT_MS % 1000 * 1000000};

	return sys(ppoll, &p, 1, limit, NULL, 8);
}

/* An answer to this question: same id, a response. */
static int answers(const uint8_t *question, const uint8_t *answer, long n)
{
	return n >= HEADER && answer[0] == question[0] && answer[1] == question[1] && (answer[2] & 0x80);
}

static long over_udp(const struct sockaddr *to, const uint8_t *q, int q_len, uint8_t *out, int room)
{
	socklen_t len = to->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	long fd = mls_socket(to->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return fd;
	r = mls_connect((int)fd, to, len);
	if (r == 0)
		r = mls_send((int)fd, q, (size_t)q_len, MSG_NOSIGNAL, NULL, 0);
	while (r >= 0) {
		r = wait_for((int)fd, POLLIN);
		if (r <= 0) {
			r = r == 0 ? -ETIMEDOUT : r;
			break;
		}
		r = mls_recv((int)fd, out, (size_t)room, 0, NULL, NULL);
		if (r >= 0 && answers(q, out, r))
			break;
	}
	sys(close, fd);
	return r;
}

static long read_exactly(int fd, uint8_t *out, long n)
{
	for (long at = 0, r; at < n; at += r) {
		if (wait_for(fd, POLLIN) <= 0)
			return -ETIMEDOUT;
		r = mls_read(fd, out + at, (size_t)(n - at));
		if (r <= 0)
			return r < 0 ? r : -ECONNRESET;
	}
	return n;
}

/* RFC 1035 §4.2.2: each message has two octets of length in front. */
static long over_tcp(const struct sockaddr *to, const uint8_t *q, int q_len, uint8_t *out, int room)
{
	socklen_t len = to->sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	uint8_t prefix[2] = {(uint8_t)(q_len >> 8), (uint8_t)q_len};
	struct iovec iov[2] = {{prefix, 2}, {(void *)q, (size_t)q_len}};
	long fd = mls_socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), r, n;

	if (fd < 0)
		return fd;
	r = mls_connect((int)fd, to, len);
	if (r == 0)
		r = mls_writev((int)fd, iov, 2);
	if (r >= 0)
		r = read_exactly((int)fd, prefix, 2);
	if (r >= 0) {
		n = prefix[0] << 8 | prefix[1];
		r = read_exactly((int)fd, out, n < room ? n : room);
		if (r >= 0 && !answers(q, out, r))
			r = -EBADMSG;
	}
	sys(close, fd);
	return r;
}

static long send_question(const struct conf *c, const uint8_t *q, int q_len, uint8_t *out, int room)
{
	long r = -ETIMEDOUT;

	if (q_len < HEADER || room < HEADER)
		return -EINVAL;
	for (int i = 0; i < TRIES * c->servers; i++) {
		const struct sockaddr *to = &c->server[i % c->servers].sa;

		r = over_udp(to, q, q_len, out, room);
		if (r >= HEADER && (out[2] & 2)) /* TC */
			r = over_tcp(to, q, q_len, out, room);
		/* A server that cannot (SERVFAIL) or will not (NOTIMP, REFUSED) is no answer while there is another. */
		if (r >= HEADER && ((out[3] & 15) == 0 || (out[3] & 15) == 3 || i + 1 == TRIES * c->servers))
			return r;
	}
	return r;
}

/* ---- names and questions ---- */

/* The octets of a question for `name` (with `domain` behind it), or -1. Takes \. and \DDD as the master file format does. */
static int make_question(const char *name, const char *domain, int class, int type, uint8_t *q, int room)
{
	const char *parts[2] = {name, domain};
	int at = HEADER, label = HEADER;
	long id = 0;

	if (room < HEADER + NAME_MOST + 5)
		return -1;
	mls_zero(q, HEADER);
	sys(getrandom, &id, 2, 0);
	q[0] = (uint8_t)id;
	q[1] = (uint8_t)(id >> 8);
	q[2] = 1; /* RD */
	q[5] = 1; /* one question */
	q[at++] = 0;
	for (int p = 0; p < 2; p++) {
		for (const char *s = parts[p]; s && *s; s++) {
			if (*s == '.') {
				if (q[label] == 0) {
					if (s[1] == 0 && at == HEADER + 1)
						break; /* the root */
					return -1;
				}
				label = at;
				q[at++] = 0;
				continue;
			}
			if (*s == '\\' && s[1])
				s++;
			if (q[label] == 63 || at >= HEADER + NAME_MOST)
				return -1;
			q[label]++;
			q[at++] = (uint8_t)*s;
		}
		if (q[label] != 0 && p == 0 && domain && *domain) {
			label = at;
			q[at++] = 0;
		}
	}
	if (q[label] != 0)
		q[at++] = 0;
	q[at++] = (uint8_t)(type >> 8);
	q[at++] = (uint8_t)type;
	q[at++] = (uint8_t)(class >> 8);
	q[at++] = (uint8_t) class;
	return at;
}

static long ask(const struct conf *c, const char *name, const char *domain, int class, int type, uint8_t *out, int room)
{
	uint8_t q[HEADER + NAME_MOST + 8];
	int n = make_question(name, domain, class, type, q, sizeof(q));
	long r;

	if (n < 0)
		return fail(NO_RECOVERY);
	r = send_question(c, q, n, out, room);
	if (r < HEADER)
		return fail(TRY_AGAIN);
	switch (out[3] & 15) {
	case 0:
		return out[6] | out[7] ? r : fail(NO_DATA);
	case 3:
		return fail(HOST_NOT_FOUND);
	case 2:
		return fail(TRY_AGAIN);
	default:
		return fail(NO_RECOVERY);
	}
}

static long search(const char *name, int class, int type, uint8_t *out, int room)
{
	struct conf c;
	int dots = 0, absolute = 0;
	long r = -1;

	read_conf(&c);
	for (const char *s = name; *s; s++) {
		dots += *s == '.';
		absolute = *s == '.';
	}
	if (absolute || dots >= c.ndots)
		r = ask(&c, name, NULL, class, type, out, room);
	for (const char *d = c.search; r < 0 && !absolute && *d; d += mls_len(d) + 1)
		r = ask(&c, name, d, class, type, out, room);
	if (r < 0 && !absolute && dots < c.ndots)
		r = ask(&c, name, NULL, class, type, out, room);
	return r;
}

static long query(const char *name, const char *domain, int class, int type, uint8_t *out, int room)
{
	struct conf c;

	read_conf(&c);
	return ask(&c, name, domain, class, type, out, room);
}

static long send_raw(const uint8_t *q, int q_len, uint8_t *out, int room)
{
	struct conf c;

	read_conf(&c);
	return sys_result(send_question(&c, q, q_len, out, room));
}

/* ---- exported: the plain names, the ones glibc's headers rename them to, and those with a state ---- */

#define CALL(result, name, ...)                                                                                        \
	EXPORT result name(__VA_ARGS__);                                                                               \
	EXPORT result name(__VA_ARGS__)
#define QUESTION const char *name, int class, int type, unsigned char *out, int room

CALL(int, res_query, QUESTION)
{
	return (int)query(name, NULL, class, type, out, room);
}

CALL(int, res_search, QUESTION)
{
	return (int)search(name, class, type, out, room);
}

CALL(int, res_querydomain, const char *name, const char *domain, int class, int type, unsigned char *out, int room)
{
	return (int)query(name, domain, class, type, out, room);
}

CALL(int, res_send, const unsigned char *q, int q_len, unsigned char *out, int room)
{
	return (int)send_raw(q, q_len, out, room);
}

CALL(int, res_nquery, void *state, QUESTION)
{
	(void)state;
	return (int)query(name, NULL, class, type, out, room);
}

CALL(int, res_nsearch, void *state, QUESTION)
{
	(void)state;
	return (int)search(name, class, type, out, room);
}

CALL(int, res_nquerydomain, void *state, const char *name, const char *domain, int class, int type, unsigned char *out,
     int room)
{
	(void)state;
	return (int)query(name, domain, class, type, out, room);
}

CALL(int, res_nsend, void *state, const unsigned char *q, int q_len, unsigned char *out, int room)
{
	(void)state;
	return (int)send_raw(q, q_len, out, room);
}

ALIAS(res_query) int __res_query(QUESTION);
ALIAS(res_search) int __res_search(QUESTION);
ALIAS(res_querydomain)
int __res_querydomain(const char *name, const char *domain, int class, int type, unsigned char *out, int room);
ALIAS(res_send) int __res_send(const unsigned char *q, int q_len, unsigned char *out, int room);
ALIAS(res_nquery) int __res_nquery(void *state, QUESTION);
ALIAS(res_nsearch) int __res_nsearch(void *state, QUESTION);
ALIAS(res_nquerydomain)
int __res_nquerydomain(void *state, const char *name, const char *domain, int class, int type, unsigned char *out,
		       int room);
ALIAS(res_nsend) int __res_nsend(void *state, const unsigned char *q, int q_len, unsigned char *out, int room);
