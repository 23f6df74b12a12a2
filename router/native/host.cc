// Sockets of the host kernel that carry apps' flows (host uplinks): made and bound here, handed to the app, and ended from
// outside when their uplink fails. Needs no privilege.
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "addon.h"

namespace mlshim
{

// hostSocket(family, type, protocol): untouched, but closed on exec; `type` may carry SOCK_NONBLOCK
int32_t host_socket(Instance &, const int32_t *a)
{
	return result(socket(a[0], a[1] | SOCK_CLOEXEC, a[2]));
}

// kernelConnect(fd, addrAt, addrLength)
int32_t kernel_connect(Instance &self, const int32_t *a)
{
	uint8_t *addr = self.at(a[1], a[2]);

	if (addr == nullptr)
		return -EFAULT;
	return result(connect(a[0], reinterpret_cast<sockaddr *>(addr), static_cast<socklen_t>(a[2])));
}

// bindToDevice(fd, name): every user may, since Linux 5.7, while the socket has no device yet
int32_t bind_to_device(int32_t fd, const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length >= IFNAMSIZ)
		return -ENODEV;
	return result(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, static_cast<socklen_t>(length + 1)));
}

static int64_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? -errno : static_cast<int64_t>(st.st_ino);
}

// socketInode(fd, at): what /proc names the socket by, as an uint32 (socket inodes are no larger)
int32_t socket_inode(Instance &self, const int32_t *a)
{
	uint8_t *place = self.at(a[1], 4);
	int64_t inode = inode_of(a[0]);

	if (place == nullptr)
		return -EFAULT;
	if (inode < 0)
		return static_cast<int32_t>(inode);
	uint32_t word = static_cast<uint32_t>(inode);
	memcpy(place, &word, sizeof(word));
	return 0;
}

// Both directions of a flow end, and whoever waits is woken. TCP: a reset towards the peer, ECONNRESET here. What has no peer is no
// flow: listeners and servers' datagram sockets stay.
static int end_socket(int fd)
{
	int type = 0, is_listening = 0;
	socklen_t length = sizeof(type);
	sockaddr_storage peer;
	socklen_t peer_length = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &length) < 0)
		return -errno;
	if (is_listening != 0 ||
	    (type != SOCK_STREAM && getpeername(fd, reinterpret_cast<sockaddr *>(&peer), &peer_length) < 0))
		return 0;
	if (type == SOCK_STREAM) {
		sockaddr nobody = {};

		nobody.sa_family = AF_UNSPEC;
		if (connect(fd, &nobody, sizeof(nobody)) == 0)
			return 0;
		// Some kernels (6.4 to 6.6 and their stable kin) refuse while a thread waits in the socket.
	}
	return shutdown(fd, SHUT_RDWR) < 0 && errno != ENOTCONN ? -errno : 0;
}

// endSocketOf(pid, fd, inode): end a socket that another process of ours holds as `fd`, if that is still the socket of this
// inode; -ESTALE when it is not
int32_t end_socket_of(Instance &, const int32_t *a)
{
	int pidfd = static_cast<int>(syscall(SYS_pidfd_open, a[0], 0));
	if (pidfd < 0)
		return -errno;
	int fd = static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, a[1], 0));
	int err = errno;
	close(pidfd);
	if (fd < 0)
		return -err;
	int n = inode_of(fd) == static_cast<int64_t>(static_cast<uint32_t>(a[2])) ? end_socket(fd) : -ESTALE;
	close(fd);
	return n;
}

} // namespace mlshim
