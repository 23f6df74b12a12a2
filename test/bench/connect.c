/*
 * connect.c - control calls and short connections over loopback; the same program runs natively and under the shim
 *
 *   connect call ROUNDS          getsockopt() that the router answers, then socket() and close(); medians in microseconds
 *   connect session ROUNDS       socket, connect, accept, close of both ends, one after the other; medians
 *   connect accept SECONDS WIDTH accepts per second while another process keeps WIDTH connections coming
 *
 * Each prints one JSON object.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

#define EVENTS 256

static struct sockaddr_in address = {.sin_family = AF_INET};

static double *samples(int n)
{
	double *v = calloc((size_t)n, sizeof(*v));

	if (!v)
		die("calloc");
	return v;
}

static int open_socket(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

static int listening(int flags)
{
	socklen_t length = sizeof(address);
	int fd = open_socket(flags);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (void *)&address, sizeof(address)) < 0 || listen(fd, 1024) < 0)
		die("listen");
	if (getsockname(fd, (void *)&address, &length) < 0)
		die("getsockname");
	return fd;
}

static int call(int rounds)
{
	double *ask = samples(rounds), *make = samples(rounds);
	int fd = open_socket(0);

	for (int i = 0; i < rounds; i++) {
		int value;
		socklen_t length = sizeof(value);
		double begin = microseconds();

		if (getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &length) < 0)
			die("getsockopt");
		ask[i] = microseconds() - begin;
	}
	for (int i = 0; i < rounds; i++) {
		double begin = microseconds();

		close(open_socket(0));
		make[i] = microseconds() - begin;
	}
	printf("{\"callUs\":%.2f,\"socketUs\":%.2f}\n", median(ask, rounds), median(make, rounds));
	return 0;
}

static int session(int rounds)
{
	double *whole = samples(rounds), *open = samples(rounds);
	int door = listening(0);

	for (int i = 0; i < rounds; i++) {
		double begin = microseconds();
		int client = open_socket(0), server;

		if (connect(client, (void *)&address, sizeof(address)) < 0)
			die("connect");
		open[i] = microseconds() - begin;
		server = accept4(door, NULL, NULL, SOCK_CLOEXEC);
		if (server < 0)
			die("accept");
		close(client);
		close(server);
		whole[i] = microseconds() - begin;
	}
	printf("{\"sessionUs\":%.2f,\"connectUs\":%.2f}\n", median(whole, rounds), median(open, rounds));
	return 0;
}

static void start(int set)
{
	int fd = open_socket(SOCK_NONBLOCK);
	struct epoll_event e = {.events = EPOLLOUT, .data.fd = fd};

	if (connect(fd, (void *)&address, sizeof(address)) < 0 && errno != EINPROGRESS)
		die("connect");
	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
}

/* Connections that are reset as soon as they stand, so that no port waits. */
static _Noreturn void load(int width)
{
	struct epoll_event events[EVENTS];
	struct linger reset = {.l_onoff = 1};
	int set = epoll_create1(EPOLL_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < width; i++)
		start(set);
	for (;;) {
		int n = epoll_wait(set, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			setsockopt(events[i].data.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
			close(events[i].data.fd);
			start(set);
		}
	}
}

static int take(double seconds, int width)
{
	int door = listening(0);
	double begin, end;
	pid_t loader = fork();
	long taken = 0;

	if (loader < 0)
		die("fork");
	if (loader == 0)
		load(width);
	begin = microseconds();
	end = begin + seconds * 1e6;
	while (microseconds() < end) {
		int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			die("accept");
		close(fd);
		taken++;
	}
	end = microseconds();
	kill(loader, SIGKILL);
	waitpid(loader, NULL, 0);
	printf("{\"acceptsPerSecond\":%.1f}\n", (double)taken * 1e6 / (end - begin));
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (argc == 3 && atoi(argv[2]) > 0 && strcmp(what, "call") == 0)
		return call(atoi(argv[2]));
	if (argc == 3 && atoi(argv[2]) > 0 && strcmp(what, "session") == 0)
		return session(atoi(argv[2]));
	if (argc == 4 && atof(argv[2]) > 0 && atoi(argv[3]) > 0 && strcmp(what, "accept") == 0)
		return take(atof(argv[2]), atoi(argv[3]));
	fprintf(stderr, "usage: connect call ROUNDS | session ROUNDS | accept SECONDS WIDTH\n");
	return 2;
}
