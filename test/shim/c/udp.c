/* SPDX-License-Identifier: MIT */
/* udp.c - datagrams: every call that sends or receives one, connected or not, cut, peeked, empty, in batches */
#include "t.h"

static void names_and_calls(int family)
{
	int a = bound(family, SOCK_DGRAM), b = bound(family, SOCK_DGRAM), n;
	union addr to, from;
	socklen_t len = loopback(&to, family, port_of(b)), got;
	char buf[2048];

	ok(sendto(a, "one", 3, 0, &to.sa, len) == 3, "sendto() takes a datagram");
	got = sizeof(from);
	ok(recvfrom(b, buf, sizeof(buf), 0, &from.sa, &got) == 3 && !memcmp(buf, "one", 3), "recvfrom() gives it");
	ok(got == len && ntohs(from.sa.sa_family == AF_INET ? from.in.sin_port : from.in6.sin6_port) == port_of(a) &&
	       from.sa.sa_family == family,
	   "with the sender's address");
	ok(sendto(b, "", 0, 0, &from.sa, got) == 0 && wait_for(a, POLLIN, 2000) && recv(a, buf, 10, 0) == 0,
	   "an empty datagram arrives");
	ok(sendto(b, "0123456789", 10, 0, &from.sa, got) == 10 && wait_for(a, POLLIN, 2000),
	   "a datagram makes readable");
	ok(ioctl(a, FIONREAD, &n) == 0 && n == 10, "FIONREAD is its length");
	ok(recv(a, buf, 4, MSG_PEEK) == 4 && recv(a, buf, 4, MSG_PEEK | MSG_TRUNC) == 10, "MSG_PEEK and MSG_TRUNC");
	ok(recv(a, buf, 4, 0) == 4 && recv(a, buf, 4, MSG_DONTWAIT) == -1 && errno == EAGAIN,
	   "what does not fit is gone");
	fails(send(a, "x", 1, 0), EDESTADDRREQ, "send() without a destination is EDESTADDRREQ");
	fails(write(a, "x", 1), EDESTADDRREQ, "so is write()");
	fails(sendto(a, buf, 70000, 0, &to.sa, len), EMSGSIZE, "too long a datagram is EMSGSIZE");
	fails(sendto(a, "x", 1, 0, &to.sa, 5), EINVAL, "a short address is EINVAL");
	fails(listen(a, 1), EOPNOTSUPP, "listen() is EOPNOTSUPP");
	fails(accept(a, NULL, NULL), EOPNOTSUPP, "accept() is EOPNOTSUPP");
	ok(so_error(a) == 0, "no pending error");
	close(a);
	close(b);
}

static void big(int family)
{
	static char out[65507], in[70000];
	int a = bound(family, SOCK_DGRAM), b = bound(family, SOCK_DGRAM);
	union addr to;
	socklen_t len = loopback(&to, family, port_of(b));

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7);
	ok(sendto(a, out, sizeof(out), 0, &to.sa, len) == sizeof(out), "65,507 octets can be sent");
	ok(wait_for(b, POLLIN, 3000) && recv(b, in, sizeof(in), 0) == sizeof(out) && !memcmp(in, out, sizeof(out)),
	   "and arrive in one piece");
	close(a);
	close(b);
}

static void connected(int family)
{
	int a = bound(family, SOCK_DGRAM), b = bound(family, SOCK_DGRAM), c = bound(family, SOCK_DGRAM);
	union addr to, back, x;
	socklen_t len = loopback(&to, family, port_of(b)), n = sizeof(x);
	struct iovec iov[2];
	char buf[64], two[8];

	fails(getpeername(a, &x.sa, &n), ENOTCONN, "an unconnected socket has no peer");
	must(connect(a, &to.sa, len));
	n = sizeof(x);
	ok(getpeername(a, &x.sa, &n) == 0 && n == len, "a connected one has");
	ok(send(a, "s", 1, 0) == 1 && write(a, "ww", 2) == 2, "send() and write() use it");
	iov[0] = (struct iovec){"vec", 3};
	iov[1] = (struct iovec){"tor", 3};
	ok(writev(a, iov, 2) == 6, "writev() makes one datagram");
	ok(read(b, buf, 64) == 1 && read(b, buf, 64) == 2, "read() takes them one by one");
	iov[0] = (struct iovec){buf, 2};
	iov[1] = (struct iovec){two, 8};
	ok(readv(b, iov, 2) == 6 && !memcmp(buf, "ve", 2) && !memcmp(two, "ctor", 4), "readv() scatters one");
	loopback(&back, family, port_of(a));
	must(sendto(c, "stranger", 8, 0, &back.sa, len));
	must(sendto(b, "friend", 6, 0, &back.sa, len));
	ok(recv(a, buf, 64, 0) == 6 && !memcmp(buf, "friend", 6), "only the peer is heard");
	x.sa.sa_family = AF_UNSPEC;
	ok(connect(a, &x.sa, len) == 0, "AF_UNSPEC disconnects");
	fails(send(a, "x", 1, 0), EDESTADDRREQ, "then there is no destination");
	close(a);
	close(b);
	close(c);

	a = must(socket(family, SOCK_DGRAM, 0));
	b = bound(family, SOCK_DGRAM);
	len = loopback(&to, family, port_of(b));
	close(b);
	must(connect(a, &to.sa, len));
	must(send(a, "?", 1, 0));
	wait_for(a, POLLIN, 2000);
	fails(recv(a, buf, 1, MSG_DONTWAIT), ECONNREFUSED, "nobody there is told by the next recv()");
	send(a, "?", 1, 0);
	wait_for(a, POLLIN, 2000);
	ok(so_error(a) == ECONNREFUSED && so_error(a) == 0, "or by SO_ERROR, once");
	close(a);
}

static void batches(void)
{
	enum { N = 50 };
	int a = bound(AF_INET, SOCK_DGRAM), b = bound(AF_INET, SOCK_DGRAM), got = 0, r, good = 1;
	struct mmsghdr out[N], in[N];
	struct iovec io[N], ii[N];
	char ob[N][8], ib[N][64];
	union addr to, from[N];
	socklen_t len = loopback(&to, AF_INET, port_of(b));
	struct timespec ts = {2, 0};

	memset(out, 0, sizeof(out));
	memset(in, 0, sizeof(in));
	for (int i = 0; i < N; i++) {
		snprintf(ob[i], 8, "m%03d", i);
		io[i] = (struct iovec){ob[i], 4 + (size_t)i % 3};
		out[i].msg_hdr =
		    (struct msghdr){.msg_name = &to, .msg_namelen = len, .msg_iov = &io[i], .msg_iovlen = 1};
		ii[i] = (struct iovec){ib[i], 64};
		in[i].msg_hdr = (struct msghdr){
		    .msg_name = &from[i], .msg_namelen = sizeof(from[i]), .msg_iov = &ii[i], .msg_iovlen = 1};
	}
	for (int i = 0; i < N; i += r)
		r = must(sendmmsg(a, out + i, (unsigned)(N - i), 0));
	ok(out[1].msg_len == 5, "sendmmsg() sends all and tells each length");
	while (got < N && (r = recvmmsg(b, in + got, (unsigned)(N - got), MSG_WAITFORONE, &ts)) > 0)
		got += r;
	for (int i = 0; i < got; i++)
		good &= in[i].msg_len == 4 + (unsigned)i % 3 && !memcmp(ib[i], ob[i], 4) &&
			from[i].in.sin_port == htons((uint16_t)port_of(a)) &&
			in[i].msg_hdr.msg_namelen == sizeof(struct sockaddr_in);
	ok(got == N && good, "recvmmsg() brings them in order with their addresses");
	ok(recvmmsg(b, in, N, MSG_DONTWAIT, NULL) == -1 && errno == EAGAIN, "then EAGAIN");
	close(a);
	close(b);
}

static void control_messages(void)
{
	int a = bound(AF_INET, SOCK_DGRAM), b = must(socket(AF_INET, SOCK_DGRAM, 0)), on = 1, ttl = -1, tos = -1,
	    info = 0, stamp = 0;
	struct sockaddr_in any = {.sin_family = AF_INET};
	char buf[16], ctl[256], sctl[64] = {0};
	struct iovec iov = {buf, sizeof(buf)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof(ctl)},
		      s = {0};
	struct cmsghdr *c;
	union addr to;

	must(bind(b, (void *)&any, sizeof(any)));
	must(setsockopt(b, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)));
	must(setsockopt(b, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)));
	must(setsockopt(b, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on)));
	must(setsockopt(b, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)));
	s.msg_namelen = loopback(&to, AF_INET, port_of(b));
	s.msg_name = &to;
	s.msg_iov = &(struct iovec){"ttl", 3};
	s.msg_iovlen = 1;
	s.msg_control = sctl;
	s.msg_controllen = CMSG_SPACE(4) * 2;
	c = CMSG_FIRSTHDR(&s);
	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(4), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL};
	*(int *)CMSG_DATA(c) = 33;
	c = CMSG_NXTHDR(&s, c);
	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(4), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TOS};
	*(int *)CMSG_DATA(c) = 0x28;
	ok(sendmsg(a, &s, 0) == 3, "sendmsg() with IP_TTL and IP_TOS");
	ok(recvmsg(b, &m, 0) == 3 && !(m.msg_flags & (MSG_CTRUNC | MSG_TRUNC)), "recvmsg() brings control messages");
	for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL)
			ttl = *(int *)CMSG_DATA(c);
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			tos = *(unsigned char *)CMSG_DATA(c);
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			info = ((struct in_pktinfo *)CMSG_DATA(c))->ipi_addr.s_addr == htonl(INADDR_LOOPBACK);
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS)
			stamp = ((struct timespec *)CMSG_DATA(c))->tv_sec > 1000000000;
	}
	ok(ttl == 33, "the TTL that was asked for");
	ok(tos == 0x28, "the TOS that was asked for");
	ok(info, "the address it was sent to");
	ok(stamp, "and when it came");
	must(sendmsg(a, &s, 0));
	m.msg_controllen = 20;
	ok(recvmsg(b, &m, 0) == 3 && (m.msg_flags & MSG_CTRUNC), "too little room for them is MSG_CTRUNC");
	close(a);
	close(b);
}

static void dual_stack(void)
{
	int six = must(socket(AF_INET6, SOCK_DGRAM, 0)), four = bound(AF_INET, SOCK_DGRAM), off = 0;
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	union addr to, from;
	socklen_t len, n = sizeof(from);
	char buf[8];

	must(setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)));
	must(bind(six, (void *)&any, sizeof(any)));
	len = loopback(&to, AF_INET, port_of(six));
	must(sendto(four, "4to6", 4, 0, &to.sa, len));
	ok(recvfrom(six, buf, 8, 0, &from.sa, &n) == 4 && IN6_IS_ADDR_V4MAPPED(&from.in6.sin6_addr),
	   "IPv4 arrives at an IPv6 socket as mapped");
	ok(sendto(six, "6to4", 4, 0, &from.sa, n) == 4 && recv(four, buf, 8, 0) == 4, "and can be answered");
	close(six);
	close(four);
}

int main(void)
{
	const int families[] = {AF_INET, AF_INET6};

	for (int i = 0; i < 2; i++) {
		names_and_calls(families[i]);
		big(families[i]);
		connected(families[i]);
	}
	batches();
	control_messages();
	dual_stack();
	done();
}
