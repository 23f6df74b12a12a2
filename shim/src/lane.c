/* SPDX-License-Identifier: MIT */
/*
 * lane.c - another description in the place of an fd
 *
 * For the direct lane (a kernel socket takes over) and for a second connect() after a failed one (a new pair does). The
 * number, its flags, the socket's options and its epoll registrations stay. What cannot follow: dups, forked copies and
 * copies sent by SCM_RIGHTS made before; therefore the router decides as early as bind() and connect().
 */
#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#define MOST_WATCHES 32

struct watch {
	int epoll;
	struct epoll_event event;
};

static int number(const char *s, int *value)
{
	int v = 0;

	if (*s < '0' || *s > '9')
		return 0;
	for (; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + (*s - '0');
	*value = v;
	return *s == 0;
}

/* "tfd:        5 events: 80000019 data:     deadbeefcafe  pos:0 ino:..." */
static const char *field(const char *line, const char *end, const char *name, int base, uint64_t *value)
{
	size_t n = mls_len(name);
	uint64_t v = 0;
	const char *p = line;

	while (p + n < end && !mls_same(p, name, n))
		p++;
	if (p + n >= end)
		return NULL;
	for (p += n; p < end && *p == ' '; p++)
		;
	for (; p < end; p++) {
		int d = *p >= '0' && *p <= '9' ? *p - '0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10 : 99;

		if (d >= base)
			break;
		v = v * (unsigned int)base + (unsigned int)d;
	}
	*value = v;
	return p;
}

static void decimal(char *out, int v)
{
	char digits[12];
	int n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	while (n > 0)
		*out++ = digits[--n];
	*out = 0;
}

/* The registration of `fd` in the epoll instance `epoll`, if there is one. Long lists are read window by window. */
static int find_watch(int epoll, int fd, struct watch *w)
{
	char path[40] = "/proc/self/fdinfo/", text[1024];
	uint64_t tfd, events, data;
	long f, n;
	size_t have = 0;
	int found = 0;

	decimal(path + mls_len(path), epoll);
	f = sys(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (f < 0)
		return 0;
	while (!found && (n = sys(read, f, text + have, sizeof(text) - have)) > 0) {
		const char *line = text, *end = text + have + n, *p, *next;

		for (p = line; p < end && !found; p++) {
			if (*p != '\n')
				continue;
			next = field(line, p, "tfd:", 10, &tfd);
			if (next && tfd == (uint64_t)fd && (next = field(next, p, "events:", 16, &events)) &&
			    field(next, p, "data:", 16, &data)) {
				w->epoll = epoll;
				w->event.events = (uint32_t)events;
				w->event.data.u64 = data;
				found = 1;
			}
			line = p + 1;
		}
		have = (size_t)(end - line);
		if (have == sizeof(text))
			have = 0;
		for (size_t i = 0; i < have; i++)
			text[i] = line[i];
	}
	sys(close, f);
	return found;
}

static int is_epoll(int fd)
{
	char path[40] = "/proc/self/fd/", target[32];
	const char *want = "anon_inode:[eventpoll]";
	long n;

	decimal(path + mls_len(path), fd);
	n = sys(readlinkat, AT_FDCWD, path, target, sizeof(target));
	return n == (long)mls_len(want) && mls_same(target, want, (size_t)n);
}

static int collect_watches(int fd, struct watch *watches)
{
	struct entry {
		uint64_t ino;
		int64_t off;
		uint16_t len;
		uint8_t type;
		char name[];
	};
	char buf[2048] __attribute__((aligned(8)));
	int count = 0, candidate;
	long n, dir = sys(openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return 0;
	while ((n = sys(getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n && count < MOST_WATCHES;) {
			struct entry *e = (struct entry *)(buf + at);

			at += e->len;
			if (number(e->name, &candidate) && is_epoll(candidate) &&
			    find_watch(candidate, fd, &watches[count]))
				count++;
		}
	}
	sys(close, dir);
	return count;
}

long lane_swap(int from, int to)
{
	struct watch watches[MOST_WATCHES];
	long status = sys(fcntl, to, F_GETFL), cloexec = sys(fcntl, to, F_GETFD), r;
	int count = collect_watches(to, watches);

	if (status >= 0)
		sys(fcntl, from, F_SETFL, status & (O_NONBLOCK | O_ASYNC));
	/* dup3() leaves registrations of the old description behind if a dup of it lives on: take them out first. */
	for (int i = 0; i < count; i++)
		sys(epoll_ctl, watches[i].epoll, EPOLL_CTL_DEL, to, NULL);
	r = sys(dup3, from, to, cloexec > 0 && (cloexec & FD_CLOEXEC) ? O_CLOEXEC : 0);
	sys(close, from);
	for (int i = 0; i < count && r >= 0; i++)
		sys(epoll_ctl, watches[i].epoll, EPOLL_CTL_ADD, to, &watches[i].event);
	return r < 0 ? r : 0;
}

long lane_to_kernel(int fd, const struct mls_id *id, const struct chan_call *answer)
{
	const struct mls_opt *opt = answer->room;
	size_t count = answer->got_len / sizeof(*opt);
	long s, r;
	int type = id->kind == 'S' ? SOCK_STREAM : id->kind == 'R' ? SOCK_RAW : SOCK_DGRAM;

	/* One that came along has been bound by the router: to a way out, and to the address that was bound here. */
	s = answer->got_fd >= 0 ? answer->got_fd : sys(socket, id->family, type | SOCK_CLOEXEC, answer->rep.arg[0]);
	if (s < 0)
		return s;
	for (size_t i = 0; i < count; i++)
		sys(setsockopt, s, opt[i].level, opt[i].name, opt[i].value,
		    opt[i].len <= sizeof(opt[i].value) ? opt[i].len : sizeof(opt[i].value));
	for (int name = SO_RCVTIMEO; name <= SO_SNDTIMEO; name++) {
		int64_t limit[2] = {0, 0};
		socklen_t len = sizeof(limit);

		if (sys(getsockopt, fd, SOL_SOCKET, name, limit, &len) == 0)
			sys(setsockopt, s, SOL_SOCKET, name, limit, len);
	}
	if (answer->got_fd < 0 && answer->rep.addr_len && answer->rep.addr_len <= sizeof(answer->rep.addr)) {
		r = sys(bind, s, answer->rep.addr, answer->rep.addr_len);
		if (r < 0) {
			sys(close, s);
			return r;
		}
	}
	return lane_swap((int)s, fd);
}
