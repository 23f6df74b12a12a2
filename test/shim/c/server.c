/* SPDX-License-Identifier: MIT */
/* server.c - accept(): loops, pre-fork, threads, epoll in both modes, no descriptors left, shutting a listener down */
#include "t.h"

#include <sys/resource.h>

static void *many_clients(void *arg)
{
	int port = (int)(long)arg;

	for (int i = 0; i < 100; i++) {
		int fd = connected_to(AF_INET, port);

		write_full(fd, &i, sizeof(i));
		close(fd);
	}
	return NULL;
}

static void loop(void)
{
	int l = listener(AF_INET, 16), sum = 0, v, flags;
	pthread_t t;

	must(pthread_create(&t, NULL, many_clients, (void *)(long)port_of(l)) ? -1 : 0);
	for (int i = 0; i < 100; i++) {
		int s = must(accept4(l, NULL, NULL, i & 1 ? SOCK_CLOEXEC | SOCK_NONBLOCK : 0));

		flags = fcntl(s, F_GETFL) & O_NONBLOCK ? 1 : 0;
		if (flags != (i & 1) || (fcntl(s, F_GETFD) & FD_CLOEXEC ? 1 : 0) != (i & 1))
			sum = -1000000;
		if (flags)
			wait_for(s, POLLIN, 3000);
		if (read_full(s, &v, sizeof(v)) == sizeof(v))
			sum += v;
		close(s);
	}
	pthread_join(t, NULL);
	ok(sum == 4950, "100 connections are accepted, with the flags asked for");
	set_nonblocking(l);
	fails(accept(l, NULL, NULL), EAGAIN, "then a non-blocking accept() is EAGAIN");
	ok(wait_for(l, POLLIN, 20) == 0, "and the listener is silent");
	fails((int)syscall(SYS_accept4, l, NULL, NULL, 0x12345), EINVAL, "unknown flags are EINVAL");
	close(l);
}

static void epolls(int edge)
{
	int l = listener(AF_INET, 16), ep = must(epoll_create1(0)), got = 0, c[5];
	struct epoll_event ev = {.events = EPOLLIN | (edge ? EPOLLET : 0), .data.fd = l}, out;

	set_nonblocking(l);
	must(epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev));
	for (int i = 0; i < 5; i++)
		c[i] = connected_to(AF_INET, port_of(l));
	while (got < 5 && epoll_wait(ep, &out, 1, 3000) == 1) {
		int s;

		while ((s = accept(l, NULL, NULL)) >= 0) {
			close(s);
			got++;
			if (!edge)
				break;
		}
	}
	ok(got == 5, edge ? "an edge-triggered listener gives all" : "a level-triggered listener gives all");
	for (int i = 0; i < 5; i++)
		close(c[i]);
	close(ep);
	close(l);
}

static void prefork(void)
{
	enum { WORKERS = 4, CALLS = 80 };
	int l = listener(AF_INET, 64), good = 0, served = 0;
	pid_t pid[WORKERS];

	for (int w = 0; w < WORKERS; w++) {
		pid[w] = must(fork());
		if (pid[w] == 0) {
			int ep = epoll_create1(0);
			struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE}, out;

			set_nonblocking(l);
			epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev);
			for (;;) {
				char c;
				int s;

				epoll_wait(ep, &out, 1, -1);
				s = accept(l, NULL, NULL);
				if (s < 0)
					continue;
				if (read(s, &c, 1) == 1) {
					if (c == 'q')
						_exit(0);
					c = (char)w;
					write_full(s, &c, 1);
				}
				close(s);
			}
		}
	}
	for (int i = 0; i < CALLS; i++) {
		int fd = connected_to(AF_INET, port_of(l));
		char c = 'x';

		good += write(fd, &c, 1) == 1 && read(fd, &c, 1) == 1 && c < WORKERS;
		close(fd);
	}
	ok(good == CALLS, "four processes share one listener and none is lost");
	for (int w = 0; w < WORKERS; w++) {
		int fd = connected_to(AF_INET, port_of(l));

		write_full(fd, "q", 1);
		close(fd);
	}
	for (int w = 0; w < WORKERS; w++)
		served += status_of(pid[w]) == 0;
	ok(served == WORKERS, "and each can be told to stop");
	close(l);
}

static void no_descriptors(void)
{
	struct rlimit old, low = {64, 0};
	int l = listener(AF_INET, 8), c = connected_to(AF_INET, port_of(l)), fds[64], n = 0, s;

	must(getrlimit(RLIMIT_NOFILE, &old));
	low.rlim_max = old.rlim_max;
	wait_for(l, POLLIN, 3000);
	must(setrlimit(RLIMIT_NOFILE, &low));
	while (n < 64 && (fds[n] = dup(c)) >= 0)
		n++;
	fails(accept(l, NULL, NULL), EMFILE, "without a free descriptor accept() is EMFILE");
	while (n > 0)
		close(fds[--n]);
	s = accept(l, NULL, NULL);
	ok(s >= 0 && write(s, "k", 1) == 1, "and the connection is still there afterwards");
	must(setrlimit(RLIMIT_NOFILE, &old));
	close(s);
	close(c);
	close(l);
}

static void *shut_later(void *arg)
{
	usleep(30000);
	shutdown((int)(long)arg, SHUT_RDWR);
	return NULL;
}

static void shut_listener(void)
{
	int l = listener(AF_INET, 8), on = 0;
	socklen_t n = sizeof(on);
	pthread_t t;

	ok(getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) == 0 && on == 1, "SO_ACCEPTCONN");
	must(pthread_create(&t, NULL, shut_later, (void *)(long)l) ? -1 : 0);
	fails(accept(l, NULL, NULL), EINVAL, "shutdown() of a listener wakes accept() with EINVAL");
	pthread_join(t, NULL);
	close(l);
}

static void addresses_in_use(void)
{
	int a = listener(AF_INET, 4), b = must(socket(AF_INET, SOCK_STREAM, 0)), on = 1;
	union addr x;
	socklen_t n = loopback(&x, AF_INET, port_of(a));

	fails(bind(b, &x.sa, n), EADDRINUSE, "a bound address is EADDRINUSE");
	close(b);
	close(a);
	a = must(socket(AF_INET, SOCK_STREAM, 0));
	b = must(socket(AF_INET, SOCK_STREAM, 0));
	must(setsockopt(a, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)));
	must(setsockopt(b, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)));
	n = loopback(&x, AF_INET, 0);
	must(bind(a, &x.sa, n));
	n = loopback(&x, AF_INET, port_of(a));
	ok(bind(b, &x.sa, n) == 0 && listen(a, 4) == 0 && listen(b, 4) == 0, "SO_REUSEPORT shares it");
	close(a);
	close(b);
	a = must(socket(AF_INET, SOCK_STREAM, 0));
	x.in.sin_addr.s_addr = htonl(0xc6336401); /* 198.51.100.1 */
	fails(bind(a, &x.sa, n), EADDRNOTAVAIL, "an address that is not ours is EADDRNOTAVAIL");
	fails(bind(a, &x.sa, 4), EINVAL, "a short address is EINVAL");
	x.sa.sa_family = AF_INET6;
	fails(bind(a, &x.sa, n), EAFNOSUPPORT, "another family is EAFNOSUPPORT");
	fails(bind(a, (void *)-1, n), EFAULT, "a wild pointer is EFAULT");
	loopback(&x, AF_INET, 0);
	must(bind(a, &x.sa, n));
	fails(bind(a, &x.sa, n), EINVAL, "a second bind() is EINVAL");
	ok(listen(a, 4) == 0 && listen(a, 8) == 0, "listen() may be repeated");
	close(a);
}

static void dual_stack(void)
{
	int l = must(socket(AF_INET6, SOCK_STREAM, 0)), off = 0, c, s;
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	union addr a;
	socklen_t n = sizeof(a);

	must(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)));
	must(bind(l, (void *)&any, sizeof(any)));
	must(listen(l, 4));
	c = connected_to(AF_INET, port_of(l));
	s = must(accept(l, &a.sa, &n));
	ok(a.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr),
	   "an IPv6 listener accepts IPv4 as mapped");
	ok(getsockname(s, &a.sa, &n) == 0 && IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr),
	   "and its own address is mapped too");
	close(c);
	c = connected_to(AF_INET6, port_of(l));
	n = sizeof(a);
	close(s);
	s = must(accept(l, &a.sa, &n));
	ok(IN6_IS_ADDR_LOOPBACK(&a.in6.sin6_addr), "and IPv6 as itself");
	close(s);
	close(c);
	c = must(socket(AF_INET6, SOCK_STREAM, 0));
	memset(&a, 0, sizeof(a));
	a.in6.sin6_family = AF_INET6;
	a.in6.sin6_port = htons((uint16_t)port_of(l));
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &a.in6.sin6_addr);
	ok(connect(c, &a.sa, sizeof(a.in6)) == 0, "connect() takes a mapped address");
	close(c);
	close(l);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	loop();
	epolls(0);
	epolls(1);
	prefork();
	no_descriptors();
	shut_listener();
	addresses_in_use();
	dual_stack();
	done();
}
