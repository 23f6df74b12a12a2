/*
 * flows.c - short and small TCP flows, for latency and accept rates; the same program runs natively and under the shim
 *
 *   flows ping HOST PORT ROUNDS CONNECTS   one octet there and back, then connects; medians in microseconds as JSON
 *   flows load HOST PORT SECONDS WIDTH     WIDTH connections at a time, reset as soon as they stand; prints how many per second
 *   flows echo PORT                        echoes every octet of every connection
 *   flows take PORT                        accepts and closes; a line with the number of accepts per second while there are any
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

#define EVENTS 256

static struct sockaddr_in address;

static int open_socket(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

static void watch(int set, int fd, int op, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	if (epoll_ctl(set, op, fd, &e) < 0)
		die("epoll_ctl");
}

static int ping(int rounds, int connects)
{
	double *rtt = calloc((size_t)rounds, sizeof(*rtt)), *open = calloc((size_t)connects, sizeof(*open));
	int one = 1, fd = open_socket(0);
	char octet = 'x';

	if (!rtt || !open)
		die("calloc");
	if (connect(fd, (void *)&address, sizeof(address)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (int i = 0; i < rounds; i++) {
		double begin = microseconds();

		if (write(fd, &octet, 1) != 1 || read(fd, &octet, 1) != 1)
			die("ping");
		rtt[i] = microseconds() - begin;
	}
	close(fd);
	for (int i = 0; i < connects; i++) {
		double begin = microseconds();

		fd = open_socket(0);
		if (connect(fd, (void *)&address, sizeof(address)) < 0)
			die("connect");
		open[i] = microseconds() - begin;
		close(fd);
		usleep(2000); /* idle again */
	}
	printf("{\"rttUs\":%.1f,\"connectUs\":%.1f}\n", median(rtt, rounds), median(open, connects));
	return 0;
}

static void start(int set)
{
	int fd = open_socket(SOCK_NONBLOCK);

	if (connect(fd, (void *)&address, sizeof(address)) < 0 && errno != EINPROGRESS)
		die("connect");
	watch(set, fd, EPOLL_CTL_ADD, EPOLLOUT);
}

static int load(double seconds, int width)
{
	struct epoll_event events[EVENTS];
	struct linger reset = {.l_onoff = 1};
	int set = epoll_create1(EPOLL_CLOEXEC);
	double begin = microseconds(), end = begin + seconds * 1e6;
	long done = 0, failed = 0;

	for (int i = 0; i < width; i++)
		start(set);
	while (microseconds() < end) {
		int n = epoll_wait(set, events, EVENTS, 100);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (events[i].events & (EPOLLERR | EPOLLHUP))
				failed++;
			else
				done++;
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
			close(fd);
			start(set);
		}
	}
	printf("{\"connectsPerSecond\":%.1f,\"failed\":%ld}\n", (double)done * 1e6 / (microseconds() - begin), failed);
	return 0;
}

static int listening(void)
{
	int one = 1, fd = open_socket(SOCK_NONBLOCK);

	address.sin_addr.s_addr = htonl(INADDR_ANY);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&address, sizeof(address)) < 0 || listen(fd, 1024) < 0)
		die("listen");
	printf("listening\n");
	fflush(stdout);
	return fd;
}

static _Noreturn void echo(void)
{
	struct epoll_event events[EVENTS];
	int set = epoll_create1(EPOLL_CLOEXEC), door = listening(), one = 1;
	char data[4096];

	watch(set, door, EPOLL_CTL_ADD, EPOLLIN);
	for (;;) {
		int n = epoll_wait(set, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == door) {
				fd = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
				if (fd < 0)
					continue;
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
				watch(set, fd, EPOLL_CTL_ADD, EPOLLIN);
			} else {
				ssize_t length = read(fd, data, sizeof(data));

				if (length <= 0 || write(fd, data, (size_t)length) != length)
					close(fd);
			}
		}
	}
}

static _Noreturn void take(void)
{
	struct epoll_event event;
	int set = epoll_create1(EPOLL_CLOEXEC), door = listening();
	double since = microseconds();
	long taken = 0;

	watch(set, door, EPOLL_CTL_ADD, EPOLLIN);
	for (;;) {
		int fd;

		epoll_wait(set, &event, 1, 1000);
		while ((fd = accept4(door, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
			close(fd);
			taken++;
		}
		if (microseconds() - since < 1e6)
			continue;
		if (taken > 0)
			printf("%.1f\n", (double)taken * 1e6 / (microseconds() - since));
		fflush(stdout);
		since = microseconds();
		taken = 0;
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	int is_server = argc == 3;

	signal(SIGPIPE, SIG_IGN);
	address.sin_family = AF_INET;
	address.sin_port = htons((uint16_t)atoi(argc > 2 ? argv[is_server ? 2 : 3] : "0"));
	if (is_server && strcmp(what, "echo") == 0)
		echo();
	if (is_server && strcmp(what, "take") == 0)
		take();
	if (argc == 6 && inet_pton(AF_INET, argv[2], &address.sin_addr) == 1) {
		if (strcmp(what, "ping") == 0)
			return ping(atoi(argv[4]), atoi(argv[5]));
		if (strcmp(what, "load") == 0)
			return load(atof(argv[4]), atoi(argv[5]));
	}
	fprintf(stderr,
		"usage: flows ping HOST PORT ROUNDS CONNECTS | load HOST PORT SECONDS WIDTH | echo PORT | take PORT\n");
	return 2;
}
