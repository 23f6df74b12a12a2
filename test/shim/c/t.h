/* SPDX-License-Identifier: MIT */
/*
 * t.h - the few helpers every program here uses
 *
 * A program prints `ok - sentence` or `not ok - sentence` per expectation and ends with the number of failures. The
 * expectations are those of Linux; the same program runs over the kernel and under the shim.
 */
#ifndef MLSHIM_TEST_T_H
#define MLSHIM_TEST_T_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int t_failed;

#ifdef __SANITIZE_ADDRESS__
/* Also in children started with an empty environment, where the shim is the first library. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "verify_asan_link_order=0:detect_leaks=0";
}
#endif

__attribute__((unused)) static void t_ok(int cond, const char *name, int line)
{
	int e = errno;

	if (!cond)
		t_failed++;
	if (cond)
		printf("ok - %s\n", name);
	else
		printf("not ok - %s # line %d, errno %d (%s)\n", name, line, e, strerror(e));
	fflush(stdout);
	errno = e;
}
#define ok(cond, name)	       t_ok((cond), name, __LINE__)
/* The call failed with exactly this errno. */
#define fails(call, err, name) (errno = 0, t_ok((call) == -1 && errno == (err), name, __LINE__))
/* What must work for the rest to make sense. */
#define must(call)                                                                                                     \
	({                                                                                                             \
		errno = 0;                                                                                             \
		__auto_type r_ = (call);                                                                               \
		if ((long)r_ == -1) {                                                                                  \
			printf("not ok - %s # line %d, errno %d (%s)\n", #call, __LINE__, errno, strerror(errno));     \
			exit(1);                                                                                       \
		}                                                                                                      \
		r_;                                                                                                    \
	})
#define done() return t_failed ? 1 : 0

/* A room for either family. */
union addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_storage ss;
};

__attribute__((unused)) static socklen_t loopback(union addr *a, int family, int port)
{
	memset(a, 0, sizeof(*a));
	if (family == AF_INET) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons((uint16_t)port);
		a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof(a->in);
	}
	a->in6.sin6_family = AF_INET6;
	a->in6.sin6_port = htons((uint16_t)port);
	a->in6.sin6_addr = in6addr_loopback;
	return sizeof(a->in6);
}

__attribute__((unused)) static int port_of(int fd)
{
	union addr a;
	socklen_t n = sizeof(a);

	must(getsockname(fd, &a.sa, &n));
	return ntohs(a.sa.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
}

/* A socket of `type` bound to loopback on a free port. */
__attribute__((unused)) static int bound(int family, int type)
{
	int fd = must(socket(family, type, 0));
	union addr a;
	socklen_t n = loopback(&a, family, 0);

	must(bind(fd, &a.sa, n));
	return fd;
}

__attribute__((unused)) static int listener(int family, int backlog)
{
	int fd = bound(family, SOCK_STREAM);

	must(listen(fd, backlog));
	return fd;
}

__attribute__((unused)) static int connected_to(int family, int port)
{
	int fd = must(socket(family, SOCK_STREAM, 0));
	union addr a;
	socklen_t n = loopback(&a, family, port);

	must(connect(fd, &a.sa, n));
	return fd;
}

/* Both ends of a TCP connection over loopback. */
__attribute__((unused)) static void tcp_pair(int family, int ends[2])
{
	int l = listener(family, 4);

	ends[0] = connected_to(family, port_of(l));
	ends[1] = must(accept(l, NULL, NULL));
	close(l);
}

/* A port nobody listens on. */
__attribute__((unused)) static int dead_port(int family)
{
	int fd = listener(family, 1), port = port_of(fd);

	close(fd);
	return port;
}

__attribute__((unused)) static int wait_for(int fd, int events, int ms)
{
	struct pollfd p = {.fd = fd, .events = (short)events};

	return poll(&p, 1, ms) == 1 ? p.revents : 0;
}

__attribute__((unused)) static int so_error(int fd)
{
	int e = -1;
	socklen_t n = sizeof(e);

	must(getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n));
	return e;
}

__attribute__((unused)) static void set_nonblocking(int fd)
{
	must(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK));
}

__attribute__((unused)) static size_t read_full(int fd, void *buf, size_t n)
{
	size_t at = 0;
	ssize_t r;

	while (at < n && (r = read(fd, (char *)buf + at, n - at)) > 0)
		at += (size_t)r;
	return at;
}

__attribute__((unused)) static size_t write_full(int fd, const void *buf, size_t n)
{
	size_t at = 0;
	ssize_t r;

	while (at < n && (r = write(fd, (const char *)buf + at, n - at)) > 0)
		at += (size_t)r;
	return at;
}

__attribute__((unused)) static int status_of(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

__attribute__((unused)) static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#endif
