// Listening sockets of the host kernel: UNIX paths for our own doors, loopback TCP and UDP for the direct lane.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "addon.h"

namespace mlshim
{

static bool path_address(const char *path, sockaddr_un &addr)
{
	size_t length = strlen(path);

	if (length >= sizeof(addr.sun_path))
		return false;
	addr.sun_family = AF_UNIX;
	memcpy(addr.sun_path, path, length + 1);
	return true;
}

// unixListen(path, type, backlog): mode 0600 from the first moment on; a stale path is the caller's to remove
int32_t unix_listen(const char *path, int32_t type, int32_t backlog)
{
	sockaddr_un addr = {};

	if (!path_address(path, addr))
		return -ENAMETOOLONG;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	// bind() gives the path the mode of the socket's inode (unix(7) leaves that out), so it is set before.
	if (fchmod(fd, 0600) < 0 || bind(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)) < 0 ||
	    listen(fd, backlog) < 0) {
		int err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

// unixConnect(path, type): the other end of unixListen, non-blocking
int32_t unix_connect(const char *path, int32_t type)
{
	sockaddr_un addr = {};

	if (!path_address(path, addr))
		return -ENAMETOOLONG;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)) < 0) {
		int err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

// kernelSocket(family, type): a non-blocking host socket that may share its address after a restart
int32_t kernel_socket(Instance &, const int32_t *a)
{
	int fd = socket(a[0], a[1] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, zero = 0;

	if (fd < 0)
		return -errno;
	if (a[1] == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	// For ::ffff:127.0.0.1, whatever the host's bindv6only says.
	if (a[0] == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	return fd;
}

// kernelBind(fd, addrAt, addrLength): a struct sockaddr in the World
int32_t kernel_bind(Instance &self, const int32_t *a)
{
	uint8_t *addr = self.at(a[1], a[2]);

	if (addr == nullptr)
		return -EFAULT;
	return result(bind(a[0], reinterpret_cast<sockaddr *>(addr), static_cast<socklen_t>(a[2])));
}

// kernelListen(fd, backlog)
int32_t kernel_listen(Instance &, const int32_t *a)
{
	return result(listen(a[0], a[1]));
}

// kernelName(fd, at, room, ofPeer): struct sockaddr; returns its length
int32_t kernel_name(Instance &self, const int32_t *a)
{
	uint8_t *addr = self.at(a[1], a[2]);
	socklen_t length = static_cast<socklen_t>(a[2]);

	if (addr == nullptr)
		return -EFAULT;
	int n = a[3] != 0 ? getpeername(a[0], reinterpret_cast<sockaddr *>(addr), &length)
			  : getsockname(a[0], reinterpret_cast<sockaddr *>(addr), &length);
	return n < 0 ? -errno : static_cast<int32_t>(length);
}

// kernelRecv(fd, at, room, addrAt, addrRoom): one datagram and its sender
int32_t kernel_recv(Instance &self, const int32_t *a)
{
	uint8_t *place = self.at(a[1], a[2]);
	uint8_t *addr = self.at(a[3], a[4]);
	socklen_t length = static_cast<socklen_t>(a[4]);

	if (place == nullptr || addr == nullptr)
		return -EFAULT;
	return result(recvfrom(a[0], place, static_cast<size_t>(a[2]), MSG_DONTWAIT, reinterpret_cast<sockaddr *>(addr),
			       &length));
}

// kernelSend(fd, at, length, addrAt, addrLength): one datagram
int32_t kernel_send(Instance &self, const int32_t *a)
{
	uint8_t *place = self.at(a[1], a[2]);
	uint8_t *addr = self.at(a[3], a[4]);

	if (place == nullptr || addr == nullptr)
		return -EFAULT;
	return result(sendto(a[0], place, static_cast<size_t>(a[2]), MSG_DONTWAIT | MSG_NOSIGNAL,
			     reinterpret_cast<sockaddr *>(addr), static_cast<socklen_t>(a[4])));
}

} // namespace mlshim
