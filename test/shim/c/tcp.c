/* SPDX-License-Identifier: MIT */
/* tcp.c - blocking clients and servers: names, data both ways, half close, reset, peeking */
#include "t.h"

#define BULK (3 << 20)

static void *echo_all(void *arg)
{
	int fd = (int)(long)arg;
	char buf[65536];
	ssize_t r;

	while ((r = read(fd, buf, sizeof(buf))) > 0)
		write_full(fd, buf, (size_t)r);
	shutdown(fd, SHUT_WR);
	return NULL;
}

static void *push_bulk(void *arg)
{
	int fd = (int)(long)arg;
	unsigned char buf[8192];

	for (int at = 0; at < BULK; at += (int)sizeof(buf)) {
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = (unsigned char)((at + (int)i) * 31 >> 3);
		write_full(fd, buf, sizeof(buf));
	}
	shutdown(fd, SHUT_WR);
	return NULL;
}

static void names(int family)
{
	int l = listener(family, 4), c, s, port = port_of(l);
	union addr a, b;
	socklen_t n = sizeof(a), m;

	c = connected_to(family, port);
	s = must(accept(l, &a.sa, &n));
	m = sizeof(b);
	must(getsockname(c, &b.sa, &m));
	ok(n == m && memcmp(&a, &b, n) == 0, "accept() tells the address the client has");
	m = sizeof(b);
	ok(getpeername(s, &b.sa, &m) == 0 && memcmp(&a, &b, m) == 0, "getpeername() of the accepted socket agrees");
	m = sizeof(b);
	ok(getpeername(c, &b.sa, &m) == 0 && port_of(s) == port && b.sa.sa_family == family,
	   "the client's peer is the server");
	n = 4;
	memset(&a, 0xaa, sizeof(a));
	ok(getsockname(c, &a.sa, &n) == 0 && n == m && ((unsigned char *)&a)[4] == 0xaa,
	   "a short name is cut, its length is not");
	n = (socklen_t)-1;
	fails(getsockname(c, &a.sa, &n), EINVAL, "a negative length is EINVAL");
	ok(so_error(c) == 0, "there is no pending error");
	close(c);
	close(s);
	close(l);
}

static void data(int family)
{
	int e[2];
	char buf[64];
	struct iovec iov[2] = {{buf, 3}, {buf + 8, 3}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
	pthread_t t1, t2;
	unsigned char *all;
	size_t got = 0;
	int good = 1;
	ssize_t r;

	tcp_pair(family, e);
	ok(write(e[0], "hello", 5) == 5 && read_full(e[1], buf, 5) == 5 && !memcmp(buf, "hello", 5),
	   "write() and read()");
	ok(send(e[1], "abcdef", 6, 0) == 6 && wait_for(e[0], POLLIN, 2000) & POLLIN,
	   "send() makes the other end readable");
	ok(recv(e[0], buf, 3, MSG_PEEK) == 3 && recv(e[0], buf, 3, MSG_PEEK) == 3 && !memcmp(buf, "abc", 3),
	   "MSG_PEEK leaves the data");
	ok(recvmsg(e[0], &m, MSG_WAITALL) == 6 && !memcmp(buf, "abc", 3) && !memcmp(buf + 8, "def", 3),
	   "recvmsg() scatters");
	ok(writev(e[0], iov, 2) == 6 && readv(e[1], iov, 2) == 6, "writev() and readv()");
	ok(sendmsg(e[0], &m, 0) == 6 && recv(e[1], NULL, 6, MSG_TRUNC | MSG_WAITALL) == 6,
	   "recv(NULL, MSG_TRUNC) discards");
	ok(sendto(e[0], "xy", 2, 0, (struct sockaddr *)buf, 16) == 2 && read_full(e[1], buf, 2) == 2,
	   "sendto() ignores the address");
	{
		union addr a;
		socklen_t n = sizeof(a);

		send(e[0], "z", 1, 0);
		ok(recvfrom(e[1], buf, 1, 0, &a.sa, &n) == 1 && n == 0, "recvfrom() gives no address on a stream");
	}
	{
		int n = -1;

		send(e[0], "12345", 5, 0);
		wait_for(e[1], POLLIN, 2000);
		ok(ioctl(e[1], FIONREAD, &n) == 0 && n > 0 && n <= 5, "FIONREAD counts what is there");
		read_full(e[1], buf, 5);
	}
	ok(recv(e[1], buf, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "an empty socket says EAGAIN");
	ok(recv(e[1], buf, 1, MSG_ERRQUEUE) == -1 && errno == EAGAIN, "so does an empty error queue");
	ok(recv(e[1], buf, 1, MSG_OOB) == -1 && errno == EINVAL, "no urgent data is EINVAL");

	all = malloc(BULK);
	must(pthread_create(&t1, NULL, push_bulk, (void *)(long)e[0]) ? -1 : 0);
	must(pthread_create(&t2, NULL, echo_all, (void *)(long)e[1]) ? -1 : 0);
	while (got < BULK && (r = read(e[0], all + got, BULK - got)) > 0)
		got += (size_t)r;
	for (size_t i = 0; i < got; i++)
		good &= all[i] == (unsigned char)((int)i * 31 >> 3);
	ok(got == BULK && good, "3 MiB arrive intact in both directions at once");
	ok(read(e[0], buf, 1) == 0, "then the end of the stream");
	pthread_join(t1, NULL);
	pthread_join(t2, NULL);
	free(all);
	close(e[0]);
	close(e[1]);
}

static void half_close(int family)
{
	int e[2];
	char buf[8];

	tcp_pair(family, e);
	ok(shutdown(e[0], SHUT_WR) == 0 && read(e[1], buf, 1) == 0, "SHUT_WR is the other's end of stream");
	ok((wait_for(e[1], POLLIN | POLLRDHUP, 2000) & (POLLIN | POLLRDHUP | POLLHUP)) == (POLLIN | POLLRDHUP),
	   "seen as IN and RDHUP, not HUP");
	ok(write(e[1], "still", 5) == 5 && read_full(e[0], buf, 5) == 5, "the other direction lives on");
	signal(SIGPIPE, SIG_IGN);
	fails(write(e[0], "x", 1), EPIPE, "writing after SHUT_WR is EPIPE");
	ok(shutdown(e[1], SHUT_WR) == 0 && read(e[0], buf, 1) == 0, "the second half closes too");
	close(e[0]);
	close(e[1]);

	tcp_pair(family, e);
	ok(shutdown(e[0], SHUT_RD) == 0 && read(e[0], buf, 1) == 0, "after SHUT_RD read() is 0");
	ok(write(e[0], "y", 1) == 1 && read_full(e[1], buf, 1) == 1, "and writing goes on");
	fails(shutdown(e[0], 77), EINVAL, "shutdown() of an unknown direction is EINVAL");
	close(e[0]);
	close(e[1]);
}

static void reset(int family)
{
	struct linger hard = {1, 0};
	int e[2], ev;
	char buf[8];

	tcp_pair(family, e);
	must(setsockopt(e[1], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
	close(e[1]);
	ev = wait_for(e[0], POLLIN | POLLRDHUP, 3000);
	ok((ev & (POLLIN | POLLERR | POLLHUP | POLLRDHUP)) == (POLLIN | POLLERR | POLLHUP | POLLRDHUP),
	   "a reset is IN, ERR, HUP and RDHUP");
	fails(read(e[0], buf, 1), ECONNRESET, "read() says ECONNRESET");
	ok(read(e[0], buf, 1) == 0, "once");
	fails(send(e[0], "x", 1, MSG_NOSIGNAL), EPIPE, "then writing is EPIPE");
	close(e[0]);

	tcp_pair(family, e);
	must(setsockopt(e[1], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
	close(e[1]);
	wait_for(e[0], POLLIN, 3000);
	ok(so_error(e[0]) == ECONNRESET && so_error(e[0]) == 0, "SO_ERROR tells a reset once");
	close(e[0]);

	tcp_pair(family, e);
	write(e[0], "unread", 6);
	wait_for(e[1], POLLIN, 2000);
	close(e[1]);
	ev = wait_for(e[0], POLLIN, 3000);
	ok(ev & POLLERR && read(e[0], buf, 1) == -1 && errno == ECONNRESET, "closing with unread data resets");
	close(e[0]);

	tcp_pair(family, e);
	close(e[1]);
	wait_for(e[0], POLLIN, 3000);
	ok(read(e[0], buf, 1) == 0, "closing without is an end of stream");
	ok(send(e[0], "1", 1, MSG_NOSIGNAL) == 1, "into which one write still goes");
	wait_for(e[0], POLLERR, 3000);
	ok(send(e[0], "2", 1, MSG_NOSIGNAL) == -1 && (errno == EPIPE || errno == ECONNRESET), "and the next does not");
	close(e[0]);
}

static void unconnected(void)
{
	int fd = must(socket(AF_INET, SOCK_STREAM, 0));
	union addr a;
	socklen_t n = sizeof(a);
	char c;

	fails(recv(fd, &c, 1, 0), ENOTCONN, "recv() on a fresh socket is ENOTCONN");
	fails(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE, "send() on it is EPIPE");
	fails(getpeername(fd, &a.sa, &n), ENOTCONN, "it has no peer");
	fails(shutdown(fd, SHUT_RDWR), ENOTCONN, "it cannot be shut down");
	fails(accept(fd, NULL, NULL), EINVAL, "it does not accept");
	close(fd);
	fd = listener(AF_INET, 1);
	fails(recv(fd, &c, 1, 0), ENOTCONN, "recv() on a listener is ENOTCONN");
	fails(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE, "send() on it is EPIPE");
	close(fd);
}

int main(void)
{
	const int families[] = {AF_INET, AF_INET6};

	for (int i = 0; i < 2; i++) {
		names(families[i]);
		data(families[i]);
		half_close(families[i]);
		reset(families[i]);
	}
	unconnected();
	done();
}
