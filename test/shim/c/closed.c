/* SPDX-License-Identifier: MIT */
/* closed.c - no router: `refused`, `open` (MLSHIM_FAIL=open), `local` (what needs none) */
#include "t.h"

#include <dirent.h>
#include <netdb.h>
#include <sys/un.h>

static void refused(void)
{
	struct addrinfo *r;

	fails(socket(AF_INET, SOCK_STREAM, 0), ENETDOWN, "a TCP socket is refused");
	fails(socket(AF_INET6, SOCK_DGRAM, 0), ENETDOWN, "a UDP socket too");
	fails((int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), ENETDOWN, "by number too");
	ok(getaddrinfo("example.org", "80", NULL, &r) == EAI_SYSTEM && errno == ENETDOWN, "a name is not looked up");
	fails(socket(AF_INET, 75, 0), EINVAL, "what is wrong is wrong first");
}

static void open_again(void)
{
	int e[2];
	char c;

	tcp_pair(AF_INET, e);
	ok(write(e[0], "x", 1) == 1 && read(e[1], &c, 1) == 1, "sockets are the kernel's");
}

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void local(void)
{
	int u[2], p[2], before = count_fds(), v = 42, got = 0;
	char ctl[CMSG_SPACE(sizeof(int))] = {0}, c = 'c';
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof(ctl)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	socklen_t n = sizeof(a);

	for (int type = 0; type < 3; type++) {
		must(socketpair(AF_UNIX, type == 0 ? SOCK_STREAM : type == 1 ? SOCK_SEQPACKET : SOCK_DGRAM, 0, u));
		must(pipe(p));
		*h = (struct cmsghdr){
		    .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(h), &p[1], sizeof(int));
		m.msg_controllen = sizeof(ctl);
		ok(sendmsg(u[0], &m, 0) == 1 && recvmsg(u[1], &m, 0) == 1, "AF_UNIX messages pass");
		memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(got));
		ok(write(got, &v, sizeof(v)) == sizeof(v) && read(p[0], &v, sizeof(v)) == sizeof(v),
		   "with their descriptors");
		ok(send(u[0], "abc", 3, 0) == 3 && recv(u[1], ctl, 8, 0) == 3, "and their data");
		close(got);
		close(u[0]);
		close(u[1]);
		close(p[0]);
		close(p[1]);
	}
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
	ok(getpeername(u[0], (struct sockaddr *)&a, &n) == 0 && a.sun_family == AF_UNIX, "their names too");
	ok(getsockopt(u[0], SOL_SOCKET, SO_TYPE, &v, &(socklen_t){sizeof(v)}) == 0 && v == SOCK_STREAM, "and options");
	close(u[0]);
	close(u[1]);
	ok(count_fds() == before, "no descriptor is left open");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "local";

	if (!strcmp(what, "refused"))
		refused();
	else if (!strcmp(what, "open"))
		open_again();
	else
		local();
	done();
}
