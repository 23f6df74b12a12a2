// The router's side of an app's socket pair: making it, the connect gate, octets in and out.
//
// Lag-by-one: the router never takes the newest octet out of the socket, so that closing its end at any time is a
// kernel ECONNRESET for the app ("close with unread data"); takeLag before a close makes it a clean end instead.
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "addon.h"

namespace mlshim
{

// Asked for on both ends; the kernel caps it at wmem_max. Bounds what one app can have in flight towards the router.
constexpr int SEND_BUFFER = 2 << 20;

static void raise_send_buffer(int fd)
{
	int bytes = SEND_BUFFER;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

// makePair(type, appIsNonBlocking, nameAt, nameLength, at): the router's end (bound to the abstract name when one is
// given) and the app's end are written to `at` as two int32. No call of ours blocks whatever the router's end is set to.
int32_t make_pair(Instance &self, const int32_t *a)
{
	int fds[2];
	uint8_t *place = self.at(a[4], sizeof(fds));
	uint8_t *name = self.at(a[2], a[3]);
	sockaddr_un addr = {};

	if (place == nullptr || name == nullptr)
		return -EFAULT;
	if (static_cast<size_t>(a[3]) >= sizeof(addr.sun_path))
		return -EINVAL;
	if (socketpair(AF_UNIX, a[0] | SOCK_CLOEXEC | (a[1] != 0 ? SOCK_NONBLOCK : 0), 0, fds) < 0)
		return -errno;
	int err = 0;
	if (a[3] > 0) {
		addr.sun_family = AF_UNIX;
		memcpy(addr.sun_path + 1, name, static_cast<size_t>(a[3])); // the leading NUL makes it abstract
		socklen_t length =
		    static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + static_cast<size_t>(a[3]));
		if (bind(fds[0], reinterpret_cast<sockaddr *>(&addr), length) < 0)
			err = errno;
	}
	if (err != 0) {
		close(fds[0]);
		close(fds[1]);
		return -err;
	}
	raise_send_buffer(fds[0]);
	raise_send_buffer(fds[1]);
	memcpy(place, fds, sizeof(fds));
	return 0;
}

// gate(appFd): make the app's end unwritable until `ungate`. Returns the number of octets that fill it.
int32_t gate(Instance &, const int32_t *a)
{
	static const uint8_t filling[4096] = {}; // one send of this size fills the smallest buffer
	int smallest = 1;
	int32_t total = 0;
	ssize_t n;

	if (setsockopt(a[0], SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest)) < 0)
		return -errno;
	while ((n = send(a[0], filling, sizeof(filling), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
		total += static_cast<int32_t>(n);
	return errno == EAGAIN ? total : -errno;
}

// ungate(appFd): raising the buffer is what fires the app's EPOLLOUT, edge-triggered too
int32_t ungate(Instance &, const int32_t *a)
{
	raise_send_buffer(a[0]);
	return 0;
}

// setSendBuffer(fd, bytes)
int32_t set_send_buffer(Instance &, const int32_t *a)
{
	return result(setsockopt(a[0], SOL_SOCKET, SO_SNDBUF, &a[1], sizeof(a[1])));
}

// Areas one recvLag may fill.
constexpr int MAX_AREAS = 16;

// recvLag(fd, listAt, count): new octets of a stream into `count` areas, given as (at, length) pairs at `listAt`. 0 =
// nothing new (the end of the stream is told by EPOLLRDHUP). Every call but the first one of a pair finds the previous
// newest octet still unread and skips it. Two calls into the kernel besides the read: so offer much room where much comes.
int32_t recv_lag(Instance &self, const int32_t *a)
{
	int count = a[2];
	const uint8_t *list = self.at(a[1], 8 * static_cast<int64_t>(count));
	iovec parts[MAX_AREAS + 1];
	uint8_t *newest = nullptr;
	int waiting = 0;
	uint8_t old;

	if (list == nullptr || count < 1 || count > MAX_AREAS)
		return -EFAULT;
	if (ioctl(a[0], SIOCINQ, &waiting) < 0)
		return -errno;
	// Takes the old octet and all but the newest of the fresh ones ...
	int64_t left = waiting - 1;
	size_t used = 1;
	parts[0] = {&old, 1};
	for (int i = 0; i < count; i++) {
		int32_t area[2];
		memcpy(area, list + 8 * i, sizeof(area));
		uint8_t *place = self.at(area[0], area[1]);
		if (place == nullptr)
			return -EFAULT;
		if (area[1] == 0 || left <= 0)
			continue;
		int64_t n = std::min<int64_t>(left, area[1]);
		parts[used++] = {place, static_cast<size_t>(n)};
		newest = place + n - 1;
		left -= n;
	}
	if (newest == nullptr)
		return 0;
	parts[used - 1].iov_len--;
	msghdr message = {};
	message.msg_iov = parts;
	message.msg_iovlen = used;
	ssize_t n = recvmsg(a[0], &message, MSG_DONTWAIT);
	if (n < 1)
		return n < 0 ? -errno : 0;
	// ... and looks at the one that stays. A read cannot be short without out-of-band data, which there is none of.
	ssize_t last = recv(a[0], newest, 1, MSG_PEEK | MSG_DONTWAIT);
	if (last < 0)
		return -errno;
	return static_cast<int32_t>(n - 1 + last);
}

// takeLag(fd): take the unread octets before a clean close; returns how many there were (at most 4096 are taken)
int32_t take_lag(Instance &, const int32_t *a)
{
	uint8_t sink[4096]; // a gate that was never opened is about as long
	ssize_t n = recv(a[0], sink, sizeof(sink), MSG_DONTWAIT);

	return n < 0 && errno == EAGAIN ? 0 : result(n);
}

// send(fd, at, length)
int32_t send_octets(Instance &self, const int32_t *a)
{
	uint8_t *place = self.at(a[1], a[2]);

	if (place == nullptr)
		return -EFAULT;
	return result(send(a[0], place, static_cast<size_t>(a[2]), MSG_DONTWAIT | MSG_NOSIGNAL));
}

// shutdown(fd, how)
int32_t shut_down(Instance &, const int32_t *a)
{
	return result(shutdown(a[0], a[1]));
}

int32_t close_fd(Instance &, const int32_t *a)
{
	return result(close(a[0]));
}

// queued(fd, out): octets waiting to be read (out = 0), or sent and not yet read by the other end (out = 1, in the
// kernel's accounting, which includes its overhead)
int32_t queued(Instance &, const int32_t *a)
{
	int n = 0;

	if (ioctl(a[0], a[1] != 0 ? SIOCOUTQ : SIOCINQ, &n) < 0)
		return -errno;
	return n;
}

} // namespace mlshim
