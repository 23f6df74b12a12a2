/* SPDX-License-Identifier: MIT */
/* process.c - fork, vfork, dup, exec, fd passing, close_range(), threads that fork: a socket stays what it is */
#include "t.h"

#include <sys/un.h>

extern char **environ;

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static int talks(int a, int b)
{
	char c = 0;

	return write(a, "m", 1) == 1 && wait_for(b, POLLIN, 3000) && read(b, &c, 1) == 1 && c == 'm';
}

/* Is fd still a TCP socket with this local port? */
static int is_tcp(int fd, int port)
{
	int type = 0, domain = 0;
	socklen_t n = sizeof(type), m = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &m) == 0 && domain == AF_INET && port_of(fd) == port;
}

static void forks(void)
{
	int e[2], port;
	pid_t pid;

	tcp_pair(AF_INET, e);
	port = port_of(e[0]);
	pid = must(fork());
	if (pid == 0)
		_exit(is_tcp(e[0], port) && talks(e[0], e[1]) ? 0 : 1);
	ok(status_of(pid) == 0, "a forked child has the connection");
	ok(is_tcp(e[0], port) && talks(e[1], e[0]), "and so has the parent afterwards");
	pid = vfork();
	if (pid == 0) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		_exit(fd >= 0 && is_tcp(e[0], port) ? 0 : 1);
	}
	ok(status_of(pid) == 0 && talks(e[0], e[1]), "a vforked child may make a socket");
	close(e[0]);
	pid = must(fork());
	if (pid == 0)
		_exit(0);
	status_of(pid);
	close(e[1]);
}

static void dups(void)
{
	int e[2], port, d, x;
	char c;

	tcp_pair(AF_INET, e);
	port = port_of(e[0]);
	d = must(dup(e[0]));
	ok(is_tcp(d, port) && talks(d, e[1]), "dup() is the same socket");
	close(e[0]);
	ok(talks(d, e[1]) && talks(e[1], d), "which lives on without the first");
	x = must(open("/dev/null", O_RDWR));
	ok(dup2(d, x) == x && is_tcp(x, port), "dup2() over a file");
	close(d);
	d = must(fcntl(x, F_DUPFD_CLOEXEC, 200));
	ok(d >= 200 && is_tcp(d, port) && talks(d, e[1]), "F_DUPFD_CLOEXEC");
	close(x);
	x = must(open("/dev/null", O_RDWR));
	ok(dup2(x, d) == d && read(e[1], &c, 1) == 0, "dup2() over the last one closes the connection");
	close(x);
	close(d);
	close(e[1]);
}

static void pass(void)
{
	int e[2], u[2], port, got = -1;
	char ctl[CMSG_SPACE(sizeof(int))] = {0}, c = 'f';
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof(ctl)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	pid_t pid;

	tcp_pair(AF_INET, e);
	port = port_of(e[0]);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
	pid = must(fork());
	if (pid == 0) {
		close(e[0]);
		close(e[1]);
		if (recvmsg(u[1], &m, 0) != 1)
			_exit(2);
		memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(got));
		_exit(is_tcp(got, port) && write(got, "passed", 6) == 6 ? 0 : 1);
	}
	*h = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(h), &e[0], sizeof(int));
	ok(sendmsg(u[0], &m, 0) == 1, "a socket is passed over AF_UNIX");
	close(e[0]);
	{
		char buf[8];

		ok(read_full(e[1], buf, 6) == 6 && !memcmp(buf, "passed", 6), "and used by who received it");
	}
	ok(status_of(pid) == 0, "who sees its names");
	ok(read(e[1], &c, 1) == 0, "its end is the connection's end");
	close(e[1]);
	close(u[0]);
	close(u[1]);
}

/* argv: exec FD PORT: the child half of execs(). */
static int after_exec(char **argv)
{
	int fd = atoi(argv[2]), port = atoi(argv[3]), extra = socket(AF_INET, SOCK_STREAM, 0), n = -1;
	socklen_t len = sizeof(n);

	if (extra < 0 || getsockopt(extra, SOL_SOCKET, SO_DOMAIN, &n, &len) || n != AF_INET)
		return 3;
	return is_tcp(fd, port) && write(fd, "exec", 4) == 4 ? 0 : 1;
}

static void execs(const char *self)
{
	char fd[16], port[16], *empty[] = {NULL}, *argv[] = {(char *)self, "exec", fd, port, NULL}, buf[8];
	int e[2];

	for (volatile int how = 0; how < 5; how++) {
		pid_t pid;

		tcp_pair(AF_INET, e);
		snprintf(fd, sizeof(fd), "%d", e[0]);
		snprintf(port, sizeof(port), "%d", port_of(e[0]));
		pid = how & 1 ? vfork() : must(fork());
		if (pid == 0) {
			switch (how) {
			case 0:
				execv(self, argv);
				break;
			case 1:
				execve(self, argv, empty);
				break;
			case 2:
				execle(self, self, "exec", fd, port, NULL, empty);
				break;
			case 3:
				execvpe(self, argv, empty);
				break;
			case 4:
				clearenv();
				execl(self, self, "exec", fd, port, NULL);
				break;
			}
			_exit(9);
		}
		ok(status_of(pid) == 0 && read_full(e[1], buf, 4) == 4, how == 0   ? "exec keeps the socket"
									: how == 4 ? "also after clearenv()"
										   : "also with an empty environment");
		close(e[0]);
		close(e[1]);
	}
}

/* nginx does both: an environment of its own, and a title written over the old one. */
static void overwritten_environment(void)
{
	pid_t pid = must(fork());

	if (pid == 0) {
		int e[2];

		for (char **p = environ; *p; p++)
			memset(*p, 0, strlen(*p));
		clearenv();
		tcp_pair(AF_INET, e);
		_exit(talks(e[0], e[1]) ? 0 : 1);
	}
	ok(status_of(pid) == 0, "an environment that was overwritten changes nothing");
}

static void sweeps(void)
{
	int e[2], fd, port;
	pid_t pid = must(fork());

	if (pid == 0) {
		syscall(SYS_close_range, 3, ~0U, 0);
		close(0);
		fd = socket(AF_INET, SOCK_STREAM, 0); /* gets number 0 */
		tcp_pair(AF_INET, e);
		_exit(fd == 0 && talks(e[0], e[1]) ? 0 : 1);
	}
	ok(status_of(pid) == 0, "after close_range(3, ~0) and close(0) sockets work");
	tcp_pair(AF_INET, e);
	port = port_of(e[0]);
	pid = must(fork());
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR), keep = e[0], other = e[1];

		for (fd = 3; fd < 64; fd++)
			if (fd != keep && fd != other)
				dup2(null, fd);
		_exit(is_tcp(keep, port) && talks(keep, other) ? 0 : 1);
	}
	ok(status_of(pid) == 0, "dup2() over everything else changes nothing");
	close(e[0]);
	close(e[1]);
}

static void *fork_in_thread(void *arg)
{
	long bad = 0;

	(void)arg;
	for (int i = 0; i < 10; i++) {
		int e[2];
		pid_t pid;

		tcp_pair(AF_INET, e);
		pid = fork();
		if (pid == 0)
			_exit(talks(e[0], e[1]) ? 0 : 1);
		bad += status_of(pid) != 0;
		close(e[0]);
		close(e[1]);
	}
	return (void *)bad;
}

static void threads(void)
{
	pthread_t t[4];
	long bad = 0;
	void *r;

	for (int i = 0; i < 4; i++)
		must(pthread_create(&t[i], NULL, fork_in_thread, NULL) ? -1 : 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &r);
		bad += (long)r;
	}
	ok(bad == 0, "four threads that fork and connect at once do not disturb each other");
}

static void by_number(void)
{
	int l = listener(AF_INET, 4), s = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), a;
	union addr x;
	socklen_t n = loopback(&x, AF_INET, port_of(l));
	char buf[4];
	pid_t pid;

	ok(syscall(SYS_connect, s, &x, n) == 0, "syscall(SYS_connect)");
	a = (int)syscall(SYS_accept4, l, NULL, NULL, SOCK_CLOEXEC);
	ok(syscall(SYS_sendto, s, "n", 1, 0, NULL, 0) == 1 && syscall(SYS_read, a, buf, 4) == 1,
	   "send and read by number");
	ok(syscall(SYS_getpid) == getpid(), "other calls pass");
	errno = 0;
	ok(syscall(SYS_close, -1) == -1 && errno == EBADF, "with their errors");
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(7);
	ok(status_of(pid) == 7, "and clone()");
	close(s);
	close(a);
	close(l);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "exec"))
		return after_exec(argv);
	signal(SIGPIPE, SIG_IGN);
	forks();
	dups();
	pass();
	execs(argv[0]);
	overwritten_environment();
	sweeps();
	threads();
	by_number();
	done();
}
