// Echo requests over the host kernel's sockets, which Node does not have: ping sockets (icmp(7)) and raw ones. A reply tells
// how long ago the kernel got it, so that the time it takes until somebody reads it does not count.
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "addon.h"

namespace mlshim
{

constexpr size_t MAX_ECHO = 2048;

// A raw socket hears all ICMP of the host: the kernel leaves out what is no echo reply.
static int only_replies(int fd, int family)
{
	if (family == AF_INET) {
		icmp_filter filter = {~(1u << ICMP_ECHOREPLY)};
		return setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter));
	}
	icmp6_filter filter;
	ICMP6_FILTER_SETBLOCKALL(&filter);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
	return setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter));
}

// echoSocket(family, isRaw): a ping socket, for groups of net.ipv4.ping_group_range, or a raw one, which takes CAP_NET_RAW
int32_t echo_socket(Instance &, const int32_t *a)
{
	int protocol = a[0] == AF_INET ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6);
	int fd = socket(a[0], (a[1] != 0 ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	int one = 1;

	if (fd < 0)
		return -errno;
	if ((a[1] != 0 && only_replies(fd, a[0]) < 0) ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) < 0) {
		int err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

// echoSend(fd, remote, octets): an ICMP message without IP header; ping sockets put identifier and checksum in
int32_t echo_send(int32_t fd, const char *remote, const uint8_t *octets, size_t length)
{
	sockaddr_storage addr = {};
	int size = inet_address(remote, 0, addr);

	if (size < 0)
		return size;
	return result(sendto(fd, octets, length, MSG_DONTWAIT | MSG_NOSIGNAL, reinterpret_cast<sockaddr *>(&addr),
			     static_cast<socklen_t>(size)));
}

// Microseconds since the kernel received a message; 0 when it does not say.
static double age_of(msghdr &message)
{
	timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	for (cmsghdr *c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		timespec then;
		memcpy(&then, CMSG_DATA(c), sizeof(then));
		return static_cast<double>(now.tv_sec - then.tv_sec) * 1e6 +
		       static_cast<double>(now.tv_nsec - then.tv_nsec) / 1e3;
	}
	return 0;
}

// echoReceive(fd, room): how many microseconds ago it came (a double), then an ICMP message without IP header; returns the
// length of both
int32_t echo_receive(int32_t fd, uint8_t *room, size_t size)
{
	uint8_t octets[MAX_ECHO];
	alignas(cmsghdr) char control[256];
	sockaddr_storage from = {};
	iovec part = {octets, sizeof(octets)};
	msghdr message = {};

	message.msg_name = &from;
	message.msg_namelen = sizeof(from);
	message.msg_iov = &part;
	message.msg_iovlen = 1;
	message.msg_control = control;
	message.msg_controllen = sizeof(control);
	if (size < sizeof(double))
		return -EINVAL;
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	double age = age_of(message);
	int type = 0;
	socklen_t length = sizeof(type);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length);
	// raw(7): IPv4 sockets get the IP header too, IPv6 ones never do.
	size_t skip = type == SOCK_RAW && from.ss_family == AF_INET && n > 0 ? size_t{octets[0] & 15u} * 4 : 0;
	if (skip > static_cast<size_t>(n))
		return -EBADMSG;
	size_t left = std::min(static_cast<size_t>(n) - skip, size - sizeof(age));
	memcpy(room, &age, sizeof(age));
	memcpy(room + sizeof(age), octets + skip, left);
	return static_cast<int32_t>(sizeof(age) + left);
}

} // namespace mlshim
