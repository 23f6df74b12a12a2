/* SPDX-License-Identifier: MIT */
/* options.c - socket() itself, socket options of each level, ioctl() */
#include "t.h"

#include <net/if.h>

static int get(int fd, int level, int name)
{
	int v = -12345;
	socklen_t n = sizeof(v);

	return getsockopt(fd, level, name, &v, &n) ? -errno : v;
}

static int set(int fd, int level, int name, int v)
{
	return setsockopt(fd, level, name, &v, sizeof(v)) ? -errno : 0;
}

static void sockets(void)
{
	int fd;

	fails(socket(AF_INET, 75, 0), EINVAL, "an unknown type is EINVAL");
	fails(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT,
	      "TCP type with UDP protocol is EPROTONOSUPPORT");
	fails(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT, "and the other way round");
	fails(socket(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT, "SOCK_SEQPACKET is ESOCKTNOSUPPORT");
	fails(socket(AF_INET, SOCK_RAW, 0), EPROTONOSUPPORT, "a raw socket needs a protocol");
	fails(socket(4711, SOCK_STREAM, 0), EAFNOSUPPORT, "an unknown family is EAFNOSUPPORT");
	fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
	ok(fcntl(fd, F_GETFL) & O_NONBLOCK && fcntl(fd, F_GETFD) & FD_CLOEXEC, "SOCK_NONBLOCK and SOCK_CLOEXEC");
	close(fd);
	fd = must(socket(AF_INET6, SOCK_DGRAM, 0));
	ok(!(fcntl(fd, F_GETFL) & O_NONBLOCK) && !(fcntl(fd, F_GETFD) & FD_CLOEXEC), "and neither");
	ok(get(fd, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM && get(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET6 &&
	       get(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDP,
	   "SO_TYPE, SO_DOMAIN and SO_PROTOCOL");
	close(fd);
}

static void values(void)
{
	int fd = must(socket(AF_INET, SOCK_STREAM, 0)), six = must(socket(AF_INET6, SOCK_STREAM, 0)), v;
	struct linger l = {1, 7}, got = {0, 0};
	socklen_t n = sizeof(got);
	struct tcp_info info;
	char name[32];

	ok(get(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM && get(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP,
	   "a TCP socket says so");
	ok(get(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0, "and that it does not listen");
	ok(set(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0 && get(fd, SOL_SOCKET, SO_REUSEADDR) == 1, "SO_REUSEADDR");
	ok(set(fd, SOL_SOCKET, SO_KEEPALIVE, 5) == 0 && get(fd, SOL_SOCKET, SO_KEEPALIVE) == 1,
	   "SO_KEEPALIVE is a truth value");
	ok(set(fd, IPPROTO_TCP, TCP_NODELAY, 1) == 0 && get(fd, IPPROTO_TCP, TCP_NODELAY) == 1, "TCP_NODELAY");
	ok(set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 33) == 0 && get(fd, IPPROTO_TCP, TCP_KEEPIDLE) == 33, "TCP_KEEPIDLE");
	ok(set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 4000) == 0 && get(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 4000,
	   "TCP_USER_TIMEOUT");
	ok(set(fd, SOL_SOCKET, SO_SNDBUF, 50000) == 0 && get(fd, SOL_SOCKET, SO_SNDBUF) == 100000,
	   "SO_SNDBUF is doubled");
	ok(set(fd, SOL_SOCKET, SO_RCVBUF, 50000) == 0 && get(fd, SOL_SOCKET, SO_RCVBUF) == 100000, "SO_RCVBUF too");
	ok(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &n) == 0 && got.l_onoff == 1 && got.l_linger == 7,
	   "SO_LINGER");
	ok(set(fd, IPPROTO_IP, IP_TOS, 0x20) == 0 && get(fd, IPPROTO_IP, IP_TOS) == 0x20, "IP_TOS");
	ok(set(fd, IPPROTO_IP, IP_TTL, 17) == 0 && get(fd, IPPROTO_IP, IP_TTL) == 17, "IP_TTL");
	ok(set(six, IPPROTO_IPV6, IPV6_V6ONLY, 1) == 0 && get(six, IPPROTO_IPV6, IPV6_V6ONLY) == 1, "IPV6_V6ONLY");
	ok(set(six, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 9) == 0 && get(six, IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 9,
	   "IPV6_UNICAST_HOPS");
	ok(get(fd, IPPROTO_TCP, TCP_MAXSEG) > 0, "TCP_MAXSEG");
	n = sizeof(name);
	ok(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &n) == 0 && n > 0 && name[0], "TCP_CONGESTION has a name");
	n = sizeof(info);
	ok(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state == TCP_CLOSE,
	   "TCP_INFO of a fresh socket");
	n = 1;
	v = 0;
	ok(getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &n) == 0 && n == 1 && v == SOCK_STREAM,
	   "a short buffer gets the first octets");
	n = sizeof(v);
	fails(getsockopt(fd, SOL_SOCKET, 9999, &v, &n), ENOPROTOOPT, "an unknown option is ENOPROTOOPT");
	fails(setsockopt(fd, SOL_SOCKET, 9999, &v, sizeof(v)), ENOPROTOOPT, "in both directions");
	fails(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, (void *)-1, sizeof(v)), EFAULT, "a wild pointer is EFAULT");
	fails(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &v, 1), EINVAL, "a short value is EINVAL");
	fails((int)syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &v, (void *)-1), EFAULT, "also for the length");
	fails(getsockopt(-1, SOL_SOCKET, SO_TYPE, &v, &n), EBADF, "no fd is EBADF");
	fails(getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &v, &n), ENOTSOCK, "a file is ENOTSOCK");
	close(fd);
	close(six);
}

static void inherits(void)
{
	int l = listener(AF_INET, 4), c, s;

	set(l, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(l, IPPROTO_TCP, TCP_NODELAY, 1);
	c = connected_to(AF_INET, port_of(l));
	s = must(accept(l, NULL, NULL));
	ok(get(s, SOL_SOCKET, SO_KEEPALIVE) == 1 && get(s, IPPROTO_TCP, TCP_NODELAY) == 1,
	   "an accepted socket has the listener's options");
	{
		struct tcp_info info;
		socklen_t n = sizeof(info);

		ok(getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state == TCP_ESTABLISHED,
		   "TCP_INFO says established");
	}
	close(s);
	close(c);
	close(l);
}

static void ioctls(void)
{
	int fd = must(socket(AF_INET, SOCK_DGRAM, 0)), n = 1, e[2];
	struct ifreq r = {0};
	struct ifconf conf = {0};
	struct ifreq many[16];

	ok(ioctl(fd, FIONBIO, &n) == 0 && fcntl(fd, F_GETFL) & O_NONBLOCK, "FIONBIO");
	strcpy(r.ifr_name, "lo");
	ok(ioctl(fd, SIOCGIFINDEX, &r) == 0 && r.ifr_ifindex > 0, "SIOCGIFINDEX of lo");
	ok(ioctl(fd, SIOCGIFFLAGS, &r) == 0 && (r.ifr_flags & IFF_LOOPBACK), "SIOCGIFFLAGS");
	ok(ioctl(fd, SIOCGIFADDR, &r) == 0 &&
	       ((struct sockaddr_in *)&r.ifr_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK),
	   "SIOCGIFADDR");
	strcpy(r.ifr_name, "nothere0");
	fails(ioctl(fd, SIOCGIFFLAGS, &r), ENODEV, "an unknown interface is ENODEV");
	conf.ifc_len = sizeof(many);
	conf.ifc_req = many;
	ok(ioctl(fd, SIOCGIFCONF, &conf) == 0 && conf.ifc_len >= (int)sizeof(many[0]), "SIOCGIFCONF lists addresses");
	tcp_pair(AF_INET, e);
	n = -1;
	ok(ioctl(e[0], TIOCOUTQ, &n) == 0 && n == 0, "SIOCOUTQ of an idle connection is 0");
	close(e[0]);
	close(e[1]);
	close(fd);
}

int main(void)
{
	close(0);
	must(open("/dev/null", O_RDONLY));
	sockets();
	values();
	inherits();
	ioctls();
	done();
}
