// Netlink sockets: the kernel's links, addresses, routes, rules, sockets and processes. What the messages say is
// router/kernel/netlink's business; here they are datagrams.
#include <linux/filter.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "addon.h"

namespace mlshim
{

constexpr int RECEIVE_BUFFER = 4 << 20;
constexpr size_t RELAY_ROOM = 64 << 10;
constexpr size_t RELAY_STACK = 64 << 10;

// netlinkOpen(protocol, groups): a close-on-exec socket whose errors come with the kernel's words and without the request
int32_t netlink_open(Instance &, const int32_t *a)
{
	int on = 1;
	int room = RECEIVE_BUFFER;
	sockaddr_nl addr = {};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, a[0]);

	if (fd < 0)
		return -errno;
	addr.nl_family = AF_NETLINK;
	addr.nl_groups = static_cast<uint32_t>(a[1]);
	// Older kernels lack some of them, and users other than root the last but one: errors are terser then, no more.
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)) < 0) {
		int err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

// netlinkSend(fd, octets): one sendmsg(2) to the kernel, however many messages that is
int32_t netlink_send(int32_t fd, const uint8_t *octets, size_t length)
{
	sockaddr_nl kernel = {};

	kernel.nl_family = AF_NETLINK;
	return result(sendto(fd, octets, length, 0, reinterpret_cast<sockaddr *>(&kernel), sizeof(kernel)));
}

// One datagram of the kernel's; those of other processes are passed over. 0 = there is none (yet), -EMSGSIZE = no room.
static int32_t receive(int32_t fd, uint8_t *place, size_t room)
{
	for (;;) {
		sockaddr_nl from = {};
		socklen_t from_length = sizeof(from);
		ssize_t n = recvfrom(fd, place, room, MSG_DONTWAIT | MSG_TRUNC, reinterpret_cast<sockaddr *>(&from),
				     &from_length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (from.nl_pid != 0)
			continue;
		return static_cast<size_t>(n) > room ? -EMSGSIZE : static_cast<int32_t>(n);
	}
}

// netlinkRecv(fd, octets, timeoutMs): the next datagram; -ETIMEDOUT, or -ENOBUFS once after datagrams were lost
int32_t netlink_recv(int32_t fd, uint8_t *place, size_t room, int32_t timeout_ms)
{
	for (;;) {
		int32_t n = receive(fd, place, room);

		if (n != 0)
			return n;
		pollfd wait = {fd, POLLIN, 0};
		int ready = poll(&wait, 1, timeout_ms);
		if (ready < 0 && errno != EINTR)
			return -errno;
		if (ready == 0)
			return -ETIMEDOUT;
	}
}

// netlinkFilter(fd, program): a classic BPF program (struct sock_filter after struct sock_filter) chooses what is queued
int32_t netlink_filter(int32_t fd, const uint8_t *program, size_t length)
{
	sock_filter code[BPF_MAXINSNS];
	size_t count = length / sizeof(sock_filter);

	if (length == 0 || length % sizeof(sock_filter) != 0 || count > BPF_MAXINSNS)
		return -EINVAL;
	memcpy(code, program, length);
	sock_fprog loaded = {static_cast<unsigned short>(count), code};
	return result(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &loaded, sizeof(loaded)));
}

struct Relay {
	int netlink;
	int stream;
	uint8_t octets[sizeof(uint32_t) + RELAY_ROOM];
};

static bool write_all(int fd, const uint8_t *octets, size_t length)
{
	while (length > 0) {
		ssize_t n = send(fd, octets, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		octets += n;
		length -= static_cast<size_t>(n);
	}
	return true;
}

// A length and a datagram after the other, until the reader closes its end. A length of 0 stands for what was lost.
static void *relay_run(void *argument)
{
	auto *relay = static_cast<Relay *>(argument);
	bool open = true;

	while (open) {
		pollfd wait[] = {{relay->netlink, POLLIN, 0}, {relay->stream, POLLIN | POLLRDHUP, 0}};

		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			break;
		if (wait[1].revents != 0)
			break;
		int32_t n = receive(relay->netlink, relay->octets + sizeof(uint32_t), RELAY_ROOM);
		if (n == 0)
			continue;
		if (n < 0 && n != -ENOBUFS && n != -EMSGSIZE)
			break;
		uint32_t length = n < 0 ? 0 : static_cast<uint32_t>(n);
		memcpy(relay->octets, &length, sizeof(length));
		open = write_all(relay->stream, relay->octets, sizeof(length) + length);
	}
	close(relay->netlink);
	close(relay->stream);
	delete relay;
	return nullptr;
}

// netlinkRelay(fd): a stream (UNIX socket) that Node can wait for, fed by a thread; the netlink socket is the thread's now
int32_t netlink_relay(Instance &, const int32_t *a)
{
	int pair[2];
	pthread_t thread;
	pthread_attr_t attributes;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	auto *relay = new Relay{a[0], pair[1], {}};
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, RELAY_STACK);
	int failed = pthread_create(&thread, &attributes, relay_run, relay);
	pthread_attr_destroy(&attributes);
	if (failed == 0)
		return pair[0];
	close(pair[0]);
	close(pair[1]);
	delete relay;
	return -failed;
}

} // namespace mlshim
