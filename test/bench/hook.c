/*
 * hook.c - socket(), connect() and close() of datagram sockets, as fast as they go: what a hook on connect() costs
 *
 *   hook ROUNDS < TARGETS        TARGETS: lines of ADDRESS PORT, all of them in each round; nanoseconds for one of them
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_TARGETS 65536

static struct sockaddr_in6 targets[MAX_TARGETS];

static int read_target(const char *line, struct sockaddr_in6 *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	char address[64];
	unsigned port;

	if (sscanf(line, "%63s %u", address, &port) != 2)
		return -1;
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		return 0;
	}
	out->sin6_family = AF_INET6;
	out->sin6_port = htons((uint16_t)port);
	return inet_pton(AF_INET6, address, &out->sin6_addr) == 1 ? 0 : -1;
}

static double nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1, count = 0;
	char line[128];

	while (count < MAX_TARGETS && fgets(line, sizeof(line), stdin) != NULL)
		if (read_target(line, &targets[count++]) != 0)
			return 2;
	double began = nanoseconds();

	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < count; i++) {
			int family = targets[i].sin6_family;
			int fd = socket(family, SOCK_DGRAM, 0);

			if (fd < 0 ||
			    connect(fd, (struct sockaddr *)&targets[i],
				    family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(targets[i])) < 0) {
				perror("connect");
				return 1;
			}
			close(fd);
		}
	}
	printf("%.1f\n", (nanoseconds() - began) / rounds / count);
	return 0;
}
