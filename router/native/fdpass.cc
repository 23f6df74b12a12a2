// Requests and descriptors: messages with SCM_RIGHTS over UNIX sockets.
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "addon.h"

namespace mlshim
{

constexpr int MAX_FDS = 8;

// accept(listenFd, isBlocking): for UNIX and kernel listeners alike
int32_t accept_fd(Instance &, const int32_t *a)
{
	return result(accept4(a[0], nullptr, nullptr, SOCK_CLOEXEC | (a[1] != 0 ? 0 : SOCK_NONBLOCK)));
}

// peerCred(fd, at): pid, uid, gid as three int32
int32_t peer_cred(Instance &self, const int32_t *a)
{
	uint8_t *place = self.at(a[1], 12);
	ucred cred;
	socklen_t length = sizeof(cred);

	if (place == nullptr)
		return -EFAULT;
	if (getsockopt(a[0], SOL_SOCKET, SO_PEERCRED, &cred, &length) < 0)
		return -errno;
	uint32_t words[3] = {static_cast<uint32_t>(cred.pid), cred.uid, cred.gid};
	memcpy(place, words, sizeof(words));
	return 0;
}

// peerPid(fd): the process at the other end of a UNIX socket
int32_t peer_pid(Instance &, const int32_t *a)
{
	ucred cred;
	socklen_t length = sizeof(cred);

	return getsockopt(a[0], SOL_SOCKET, SO_PEERCRED, &cred, &length) < 0 ? -errno : cred.pid;
}

// recvMessage(fd, at, room, fdsAt, maxFds): octets read; fdsAt gets the number of descriptors and then the descriptors
int32_t recv_message(Instance &self, const int32_t *a)
{
	alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * MAX_FDS)];
	int want = std::clamp(a[4], 0, MAX_FDS);
	uint8_t *place = self.at(a[1], a[2]);
	uint8_t *out = self.at(a[3], 4 + 4 * static_cast<int64_t>(want));
	iovec part = {place, static_cast<size_t>(a[2])};
	msghdr message = {};
	int32_t kept = 0;

	if (place == nullptr || out == nullptr)
		return -EFAULT;
	message.msg_iov = &part;
	message.msg_iovlen = 1;
	message.msg_control = control;
	message.msg_controllen = sizeof(control);
	ssize_t n = recvmsg(a[0], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	for (cmsghdr *c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		int count = static_cast<int>((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (int i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + sizeof(int) * static_cast<size_t>(i), sizeof(fd));
			if (kept < want) {
				memcpy(out + 4 + 4 * kept, &fd, sizeof(fd));
				kept++;
			} else {
				close(fd); // nobody asked for it
			}
		}
	}
	memcpy(out, &kept, sizeof(kept));
	return static_cast<int32_t>(n);
}

// sendMessage(fd, at, length, fdsAt, fdCount): all octets in one message, the descriptors (int32s at fdsAt) with it
int32_t send_message(Instance &self, const int32_t *a)
{
	alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * MAX_FDS)] = {};
	uint8_t *place = self.at(a[1], a[2]);
	uint8_t *fds = self.at(a[3], 4 * static_cast<int64_t>(a[4]));
	iovec part = {place, static_cast<size_t>(a[2])};
	msghdr message = {};

	if (place == nullptr || fds == nullptr)
		return -EFAULT;
	if (a[4] > MAX_FDS)
		return -EINVAL;
	message.msg_iov = &part;
	message.msg_iovlen = 1;
	if (a[4] > 0) {
		size_t octets = sizeof(int) * static_cast<size_t>(a[4]);
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(octets);
		cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(octets);
		memcpy(CMSG_DATA(c), fds, octets);
	}
	return result(sendmsg(a[0], &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

} // namespace mlshim
