/* SPDX-License-Identifier: MIT */
/*
 * routing.c - what a routing daemon without privileges hears when it changes the kernel's tables
 *
 * `routing refused`: what Linux says to an ordinary user, also under the shim. `routing granted`: what a program started
 * as a routing daemon (MLSHIM_ROUTING=1) hears. Either way nothing is changed. `routing view`: which network it sees.
 */
#include "t.h"

#include <ifaddrs.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

struct change {
	struct nlmsghdr h;
	struct rtmsg r;
	struct rtattr dst_head;
	uint32_t dst;
	struct rtattr oif_head;
	uint32_t oif;
};

#define REQUEST (NLM_F_REQUEST | NLM_F_ACK)

static int fd, wanted;
static uint32_t seq;

/* 198.51.100.0/24 dev lo, or what `type` says of it. */
static struct change change(int type)
{
	struct change c = {
	    .h = {.nlmsg_len = sizeof(c), .nlmsg_flags = REQUEST, .nlmsg_seq = ++seq},
	    .r = {.rtm_family = AF_INET, .rtm_dst_len = 24, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = 188},
	    .dst_head = {8, RTA_DST},
	    .oif_head = {8, RTA_OIF},
	    .oif = 1,
	};

	c.h.nlmsg_type = (uint16_t)type;
	if (type == RTM_NEWROUTE)
		c.h.nlmsg_flags |= NLM_F_CREATE;
	c.r.rtm_scope = RT_SCOPE_LINK;
	c.r.rtm_type = RTN_UNICAST;
	c.dst = htonl(0xc6336400);
	return c;
}

/* The next message is the answer to `number`: its errno, 0 = done, -1 = something else came. */
static int answer(uint32_t number)
{
	union {
		struct nlmsghdr h;
		char room[8192];
	} in;
	ssize_t n = recv(fd, &in, sizeof(in), 0);
	struct nlmsgerr *e = NLMSG_DATA(&in.h);

	if (n < (ssize_t)NLMSG_LENGTH(sizeof(*e)) || in.h.nlmsg_type != NLMSG_ERROR || in.h.nlmsg_seq != number)
		return -1;
	return -e->error;
}

static void every_call(void)
{
	struct change c = change(RTM_NEWROUTE), was = c, d = change(RTM_DELROUTE);
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct iovec iov[2] = {{&c, sizeof(c)}, {&d, sizeof(d)}};
	struct msghdr msg = {.msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = iov, .msg_iovlen = 1};
	struct mmsghdr vec[2] = {{.msg_hdr = msg}, {.msg_hdr = msg}};

	ok(send(fd, &c, sizeof(c), 0) == sizeof(c) && answer(c.h.nlmsg_seq) == wanted, "send()");
	ok(sendto(fd, &c, sizeof(c), 0, (void *)&kernel, sizeof(kernel)) == sizeof(c) &&
	       answer(c.h.nlmsg_seq) == wanted,
	   "sendto() the kernel");
	ok(write(fd, &c, sizeof(c)) == sizeof(c) && answer(c.h.nlmsg_seq) == wanted, "write()");
	ok(sendmsg(fd, &msg, 0) == sizeof(c) && answer(c.h.nlmsg_seq) == wanted, "sendmsg()");
	ok(syscall(SYS_sendmsg, fd, &msg, 0) == sizeof(c) && answer(c.h.nlmsg_seq) == wanted, "sendmsg() by number");
	ok(writev(fd, iov, 2) == sizeof(c) + sizeof(d) && answer(c.h.nlmsg_seq) == wanted &&
	       answer(d.h.nlmsg_seq) == wanted,
	   "writev() of two messages");
	vec[1].msg_hdr.msg_iov = &iov[1];
	ok(sendmmsg(fd, vec, 2, 0) == 2 && vec[0].msg_len == sizeof(c) && vec[1].msg_len == sizeof(d) &&
	       answer(c.h.nlmsg_seq) == wanted && answer(d.h.nlmsg_seq) == wanted,
	   "sendmmsg()");
	ok(memcmp(&c, &was, sizeof(c)) == 0, "the message is as it was");
	d = change(RTM_DELROUTE);
	d.h.nlmsg_flags = NLM_F_REQUEST;
	c = change(RTM_NEWROUTE);
	ok(writev(fd, (struct iovec[]){{&d, sizeof(d)}, {&c, sizeof(c)}}, 2) == sizeof(c) + sizeof(d) &&
	       (wanted == 0 || answer(d.h.nlmsg_seq) == wanted) && answer(c.h.nlmsg_seq) == wanted,
	   "without NLM_F_ACK only a refusal is told");
}

static void kinds(void)
{
	static const int types[] = {RTM_NEWLINK, RTM_SETLINK, RTM_NEWADDR,  RTM_DELADDR,    RTM_NEWNEIGH,
				    RTM_NEWRULE, RTM_DELRULE, RTM_DELROUTE, RTM_NEWNEXTHOP, RTM_DELNEXTHOP};
	int same = 1;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct change c = change(types[i]);

		same &= send(fd, &c, sizeof(c), 0) == sizeof(c) && answer(c.h.nlmsg_seq) == wanted;
	}
	ok(same, "links, addresses, neighbours, rules and next hops alike");
}

/* A question between two changes is answered, each in its turn. */
static void questions(void)
{
	struct {
		struct change first;
		struct {
			struct nlmsghdr h;
			struct ifinfomsg i;
		} ask;
		struct change last;
	} m;
	union {
		struct nlmsghdr h;
		char room[16384];
	} in;

	memset(&m, 0, sizeof(m));
	m.first = change(RTM_NEWROUTE);
	m.ask.h = (struct nlmsghdr){sizeof(m.ask), RTM_GETLINK, NLM_F_REQUEST, ++seq, 0};
	m.ask.i.ifi_index = 1;
	m.last = change(RTM_DELROUTE);
	ok(send(fd, &m, sizeof(m), 0) == sizeof(m), "a batch with a question");
	ok(answer(m.first.h.nlmsg_seq) == wanted, "the change before it");
	ok(recv(fd, &in, sizeof(in), 0) > 0 && in.h.nlmsg_type == RTM_NEWLINK && in.h.nlmsg_seq == m.ask.h.nlmsg_seq,
	   "the question is answered by the kernel");
	ok(answer(m.last.h.nlmsg_seq) == wanted, "the change behind it");
}

/* More than the shim gives to the kernel at a time, and few enough for their answers to fit a socket's buffer. */
static void many(void)
{
	static struct change batch[200];
	size_t good = 0, n = sizeof(batch) / sizeof(batch[0]);

	for (size_t i = 0; i < n; i++)
		batch[i] = change(RTM_NEWROUTE);
	ok(send(fd, batch, sizeof(batch), 0) == sizeof(batch), "a batch of 200 changes");
	while (good < n && answer(batch[good].h.nlmsg_seq) == wanted)
		good++;
	ok(good == n, "each of them is answered, in order");
}

/* A message in two pieces is nothing the shim looks into: the kernel answers. */
static void pieces(void)
{
	struct change c = change(RTM_NEWROUTE);
	struct iovec iov[2] = {{&c, 24}, {(char *)&c + 24, sizeof(c) - 24}};

	ok(writev(fd, iov, 2) == sizeof(c) && answer(c.h.nlmsg_seq) == EPERM, "a message in two pieces is refused");
	ok(send(fd, &c, 8, 0) == 8, "half a header is sent as it is");
	fails(send(fd, (void *)16, sizeof(c), 0), EFAULT, "an unreadable message");
}

/* Whatever was said, the kernel's table is as it was. */
static void nothing_changed(void)
{
	char text[65536];
	int proc = open("/proc/net/route", O_RDONLY);
	ssize_t n = read(proc, text, sizeof(text) - 1);

	close(proc);
	text[n > 0 ? n : 0] = 0;
	ok(n > 0 && strstr(text, "006433C6") == NULL, "the kernel has no route of ours");
}

/* ---- what is seen ---- */

#define MOST 64
struct seen {
	int family, index, prefix;
	char name[16], addr[16];
};

static struct seen seen[MOST];
static int seen_count;

static void see(struct nlmsghdr *h)
{
	struct seen *s = &seen[seen_count];
	struct ifinfomsg *link = NLMSG_DATA(h);
	struct ifaddrmsg *addr = NLMSG_DATA(h);
	int is_link = h->nlmsg_type == RTM_NEWLINK;
	struct rtattr *a = is_link ? IFLA_RTA(link) : IFA_RTA(addr);
	int left = (int)(is_link ? IFLA_PAYLOAD(h) : IFA_PAYLOAD(h));

	if (seen_count == MOST || (!is_link && h->nlmsg_type != RTM_NEWADDR))
		return;
	seen_count++;
	s->family = is_link ? AF_PACKET : addr->ifa_family;
	s->index = is_link ? link->ifi_index : (int)addr->ifa_index;
	s->prefix = is_link ? 0 : addr->ifa_prefixlen;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (is_link && a->rta_type == IFLA_IFNAME)
			snprintf(s->name, sizeof(s->name), "%s", (char *)RTA_DATA(a));
		if (!is_link && a->rta_type == IFA_ADDRESS)
			memcpy(s->addr, RTA_DATA(a), RTA_PAYLOAD(a) < 16 ? RTA_PAYLOAD(a) : 16);
	}
}

/* Everything a dump says until its end mark. */
static int dump(int type, int family)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} ask = {{sizeof(ask), (uint16_t)type, NLM_F_REQUEST | NLM_F_DUMP, ++seq, 0}, {.ifi_family = (uint8_t)family}};
	union {
		struct nlmsghdr h;
		char room[32768];
	} in;

	if (send(fd, &ask, sizeof(ask), 0) != sizeof(ask))
		return 0;
	for (;;) {
		ssize_t n = recv(fd, &in, sizeof(in), 0);

		if (n <= 0)
			return 0;
		for (struct nlmsghdr *h = &in.h; NLMSG_OK(h, (uint32_t)n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return 1;
			if (h->nlmsg_type == NLMSG_ERROR)
				return 0;
			see(h);
		}
	}
}

static int bits_of(const unsigned char *mask, int n)
{
	int bits = 0;

	while (bits < n * 8 && (mask[bits / 8] & (0x80 >> bits % 8)))
		bits++;
	return bits;
}

static int has_seen(const struct ifaddrs *a)
{
	int family = a->ifa_addr->sa_family, n = family == AF_INET ? 4 : 16, at = family == AF_INET ? 4 : 8;

	for (int i = 0; i < seen_count; i++) {
		struct seen *s = &seen[i];

		if (s->family != family || s->index != (int)if_nametoindex(a->ifa_name))
			continue;
		if (family == AF_PACKET ? strcmp(s->name, a->ifa_name) == 0
					: memcmp(s->addr, (char *)a->ifa_addr + at, (size_t)n) == 0 &&
					      s->prefix == bits_of((unsigned char *)a->ifa_netmask + at, n))
			return 1;
	}
	return 0;
}

/* The network a routing daemon reads is the one getifaddrs() tells. */
static void view(void)
{
	struct ifaddrs *list = NULL;
	int count = 0, same = 1;

	ok(dump(RTM_GETLINK, AF_PACKET), "links are dumped");
	ok(dump(RTM_GETADDR, AF_INET) && dump(RTM_GETADDR, AF_INET6), "addresses are dumped");
	ok(getifaddrs(&list) == 0, "getifaddrs()");
	for (struct ifaddrs *a = list; a; a = a->ifa_next, count++)
		same &= has_seen(a);
	ok(same, "each of its entries was dumped");
	ok(count == seen_count && count >= 3, "and nothing else");
	freeifaddrs(list);
	seen_count = 0;
	ok(dump(RTM_GETROUTE, AF_INET) && seen_count == 0, "the kernel's routes are not shown");
}

static void privileges(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{.permitted = 1 << CAP_NET_ADMIN}};
	int size = 65536, seven = 7, got = 0, unix_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	socklen_t len = sizeof(got);
	extern int capset(void *, const void *);

	if (wanted == 0) {
		ok(capset(&head, data) == 0, "capset()");
		ok(syscall(SYS_capset, &head, data) == 0, "capset() by number");
		ok(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) == 0 &&
		       getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &got, &len) == 0 && got == 2 * size,
		   "SO_RCVBUFFORCE is SO_RCVBUF");
		ok(setsockopt(unix_fd, SOL_SOCKET, SO_PRIORITY, &seven, sizeof(seven)) == 0, "SO_PRIORITY 7");
	} else {
		fails(capset(&head, data), EPERM, "capset()");
		fails(syscall(SYS_capset, &head, data), EPERM, "capset() by number");
		fails(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)), EPERM, "SO_RCVBUFFORCE");
		fails(setsockopt(unix_fd, SOL_SOCKET, SO_PRIORITY, &seven, sizeof(seven)), EPERM, "SO_PRIORITY 7");
	}
	fails(setsockopt(unix_fd, SOL_SOCKET, SO_MARK, &seven, sizeof(seven)), EPERM,
	      "a mark would send packets elsewhere");
	head.version = 0;
	ok(capset(&head, data) < 0 && errno == EINVAL, "an unknown version of capset() is one");
	close(unix_fd);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "refused";

	wanted = strcmp(what, "granted") == 0 ? 0 : EPERM;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ok(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){5, 0}, sizeof(struct timeval)) == 0,
	   "an rtnetlink socket");
	if (strcmp(what, "view") == 0) {
		view();
		done();
	}
	every_call();
	kinds();
	questions();
	many();
	pieces();
	nothing_changed();
	privileges();
	done();
}
