/* SPDX-License-Identifier: MIT */
/* connect.c - connect(): non-blocking with each kind of wait, refusals, second calls, signals, fast open, disconnect */
#include "t.h"

static int start(int family, int port)
{
	int fd = must(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	union addr a;
	socklen_t n = loopback(&a, family, port);

	ok(connect(fd, &a.sa, n) == -1 && errno == EINPROGRESS, "a non-blocking connect() is in progress");
	return fd;
}

static void with_poll(int family)
{
	int l = listener(family, 8), fd = start(family, port_of(l)), ev;

	ev = wait_for(fd, POLLOUT, 3000);
	ok((ev & (POLLOUT | POLLERR | POLLHUP)) == POLLOUT, "poll() says writable, no error");
	ok(so_error(fd) == 0, "SO_ERROR is 0");
	ok(write(fd, "x", 1) == 1, "and data can be written");
	close(fd);
	fd = start(family, port_of(l));
	{
		fd_set w;
		struct timeval tv = {3, 0};

		FD_ZERO(&w);
		FD_SET(fd, &w);
		ok(select(fd + 1, NULL, &w, NULL, &tv) == 1 && FD_ISSET(fd, &w) && so_error(fd) == 0,
		   "select() says writable");
	}
	close(fd);
	close(l);
}

static void with_epoll(int edge)
{
	int l = listener(AF_INET, 8), ep = must(epoll_create1(0)), fd;
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (edge ? EPOLLET : 0)}, out;
	union addr a;
	socklen_t n = loopback(&a, AF_INET, port_of(l));
	uint32_t seen = 0;

	fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	if (connect(fd, &a.sa, n) == 0 || errno != EINPROGRESS)
		ok(0, "in progress");
	must(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	for (int i = 0; i < 5 && !(seen & EPOLLOUT); i++)
		if (epoll_wait(ep, &out, 1, 3000) == 1)
			seen |= out.events;
	ok((seen & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == EPOLLOUT,
	   edge ? "EPOLLET tells the end of the handshake" : "epoll tells it");
	if (edge)
		ok(epoll_wait(ep, &out, 1, 50) == 0, "once");
	close(fd);
	fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	n = loopback(&a, AF_INET, dead_port(AF_INET));
	must(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	connect(fd, &a.sa, n);
	seen = 0;
	/* Under the shim the kernel tells the end of the pair before it has freed what fills it: OUT may be an event of its own. */
	for (int i = 0; i < 5 && (seen & (EPOLLERR | EPOLLOUT)) != (EPOLLERR | EPOLLOUT); i++)
		if (epoll_wait(ep, &out, 1, 3000) == 1)
			seen |= out.events;
	ok((seen & (EPOLLERR | EPOLLHUP | EPOLLIN | EPOLLOUT)) == (EPOLLERR | EPOLLHUP | EPOLLIN | EPOLLOUT),
	   "a refusal is IN, OUT, ERR and HUP");
	ok(so_error(fd) == ECONNREFUSED && so_error(fd) == 0, "and SO_ERROR says ECONNREFUSED once");
	close(fd);
	close(ep);
	close(l);
}

static void refused(int family)
{
	int fd = must(socket(family, SOCK_STREAM, 0)), port = dead_port(family), l;
	union addr a;
	socklen_t n = loopback(&a, family, port);
	char c;

	fails(connect(fd, &a.sa, n), ECONNREFUSED, "a blocking connect() to nobody is ECONNREFUSED");
	fails(connect(fd, &a.sa, n), ECONNREFUSED, "so is the second on the same socket");
	l = listener(family, 4);
	n = loopback(&a, family, port_of(l));
	ok(connect(fd, &a.sa, n) == 0 && write(fd, "x", 1) == 1, "and the third, to somebody, succeeds");
	close(fd);
	close(l);
	fd = start(family, port);
	wait_for(fd, POLLOUT, 3000);
	fails(recv(fd, &c, 1, 0), ECONNREFUSED, "recv() tells why a connect() failed");
	close(fd);
	fd = start(family, port);
	wait_for(fd, POLLOUT, 3000);
	n = loopback(&a, family, port);
	fails(connect(fd, &a.sa, n), ECONNREFUSED, "so does a second connect()");
	close(fd);
}

static void again(void)
{
	int l = listener(AF_INET, 4), fd;
	union addr a;
	socklen_t n = loopback(&a, AF_INET, port_of(l));

	fd = must(socket(AF_INET, SOCK_STREAM, 0));
	must(connect(fd, &a.sa, n));
	fails(connect(fd, &a.sa, n), EISCONN, "connect() on a connected socket is EISCONN");
	fails(listen(fd, 1), EINVAL, "listen() on it is EINVAL");
	a.sa.sa_family = AF_UNSPEC;
	ok(connect(fd, &a.sa, n) == 0, "AF_UNSPEC disconnects");
	a.sa.sa_family = AF_INET;
	ok(connect(fd, &a.sa, n) == 0, "and it can be connected again");
	close(fd);
	fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	connect(fd, &a.sa, n);
	wait_for(fd, POLLOUT, 3000);
	ok(connect(fd, &a.sa, n) == 0, "after a non-blocking success the second connect() is 0");
	fails(connect(fd, &a.sa, n), EISCONN, "and the third EISCONN");
	close(fd);
	fd = must(socket(AF_INET, SOCK_STREAM, 0));
	fails(connect(fd, &a.sa, 3), EINVAL, "a short address is EINVAL");
	a.sa.sa_family = AF_INET6;
	fails(connect(fd, &a.sa, n), EAFNOSUPPORT, "another family is EAFNOSUPPORT");
	fails(connect(fd, (void *)-1, n), EFAULT, "a wild pointer is EFAULT");
	a.sa.sa_family = AF_INET;
	fails(connect(l, &a.sa, n), EISCONN, "connect() on a listener is EISCONN");
	fails(connect(-1, &a.sa, n), EBADF, "connect() on no fd is EBADF");
	fails(connect(0, &a.sa, n), ENOTSOCK, "connect() on a file is ENOTSOCK");
	close(fd);
	close(l);
}

static void fast_open(void)
{
	int l = listener(AF_INET, 4), fd = must(socket(AF_INET, SOCK_STREAM, 0)), s;
	union addr a;
	socklen_t n = loopback(&a, AF_INET, port_of(l));
	char buf[8];

	ok(sendto(fd, "early", 5, MSG_FASTOPEN, &a.sa, n) == 5, "MSG_FASTOPEN connects and sends");
	s = must(accept(l, NULL, NULL));
	ok(read_full(s, buf, 5) == 5 && !memcmp(buf, "early", 5), "and the data arrive");
	close(s);
	close(fd);
	close(l);
}

static volatile sig_atomic_t alarms;
static void on_alarm(int s)
{
	(void)s;
	alarms++;
}

static void signals(void)
{
	struct sigaction sa = {.sa_handler = on_alarm};
	struct itimerval soon = {{0, 0}, {0, 30000}}, often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	int l = listener(AF_INET, 4), e[2], good = 0;
	char c;

	sigaction(SIGALRM, &sa, NULL);
	tcp_pair(AF_INET, e);
	setitimer(ITIMER_REAL, &soon, NULL);
	fails(read(e[0], &c, 1), EINTR, "a signal ends read()");
	setitimer(ITIMER_REAL, &soon, NULL);
	fails(accept(l, NULL, NULL), EINTR, "a signal ends accept()");
	sa.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 50; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0), s;
		union addr a;
		socklen_t n = loopback(&a, AF_INET, port_of(l));

		if (fd < 0 || connect(fd, &a.sa, n) || (s = accept(l, NULL, NULL)) < 0)
			break;
		good += write(fd, "x", 1) == 1 && read(s, &c, 1) == 1;
		close(fd);
		close(s);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	ok(good == 50, "a storm of restarting signals breaks nothing");
	close(e[0]);
	close(e[1]);
	close(l);
}

static void timeouts(void)
{
	struct timeval tv = {0, 50000}, got = {0, 0};
	socklen_t n = sizeof(got);
	int e[2], l = listener(AF_INET, 4);
	char c, *big = calloc(1, 1 << 20);
	double t = now_s();

	tcp_pair(AF_INET, e);
	must(setsockopt(e[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	ok(getsockopt(e[0], SOL_SOCKET, SO_RCVTIMEO, &got, &n) == 0 && got.tv_usec >= 40000 && got.tv_usec <= 60000,
	   "SO_RCVTIMEO is kept");
	fails(read(e[0], &c, 1), EAGAIN, "and ends read() with EAGAIN");
	ok(now_s() - t >= 0.03, "not at once");
	must(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	fails(accept(l, NULL, NULL), EAGAIN, "and accept()");
	must(setsockopt(e[1], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)));
	errno = 0;
	for (int i = 0; i < 64 && errno != EAGAIN; i++)
		if (send(e[1], big, 1 << 20, MSG_NOSIGNAL) == -1)
			break;
	ok(errno == EAGAIN, "SO_SNDTIMEO ends a send() that nobody reads");
	free(big);
	close(e[0]);
	close(e[1]);
	close(l);
}

int main(void)
{
	const int families[] = {AF_INET, AF_INET6};

	close(0);
	must(open("/dev/null", O_RDONLY));
	for (int i = 0; i < 2; i++) {
		with_poll(families[i]);
		refused(families[i]);
	}
	with_epoll(0);
	with_epoll(1);
	again();
	fast_open();
	signals();
	timeouts();
	done();
}
