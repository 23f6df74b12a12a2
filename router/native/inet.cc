// TCP and UDP sockets of the host kernel as routing protocols want them: bound by an address in text, signed segments
// (RFC 2385), and datagrams that tell whether a router has forwarded them.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "addon.h"

namespace mlshim
{

// A datagram socket's filter sees the UDP header first; what it leaves of a packet counts from there.
constexpr uint32_t UDP_HEADER = 8;
constexpr uint32_t IPV4_TTL_AT = 8;
constexpr uint32_t IPV6_HOP_LIMIT_AT = 7;
constexpr uint32_t WHOLE = 0xffffffff;

// ADDRESS or ADDRESS%INTERFACE; returns the length of the struct sockaddr, or -errno.
int inet_address(const char *text, uint16_t port, sockaddr_storage &out)
{
	auto *v4 = reinterpret_cast<sockaddr_in *>(&out);
	auto *v6 = reinterpret_cast<sockaddr_in6 *>(&out);
	const char *zone = strchr(text, '%');
	char plain[INET6_ADDRSTRLEN] = {};
	size_t length = zone == nullptr ? strlen(text) : static_cast<size_t>(zone - text);

	if (length >= sizeof(plain))
		return -EINVAL;
	memcpy(plain, text, length);
	if (zone == nullptr && inet_pton(AF_INET, plain, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, plain, &v6->sin6_addr) != 1)
		return -EINVAL;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	v6->sin6_scope_id = zone == nullptr ? 0 : if_nametoindex(zone + 1);
	return zone != nullptr && v6->sin6_scope_id == 0 ? -ENODEV : static_cast<int>(sizeof(*v6));
}

// inetBind(fd, address, port)
int32_t inet_bind(int32_t fd, const char *address, uint16_t port)
{
	sockaddr_storage addr = {};
	int length = inet_address(address, port, addr);

	if (length < 0)
		return length;
	return result(bind(fd, reinterpret_cast<sockaddr *>(&addr), static_cast<socklen_t>(length)));
}

// inetSource(address): the address of ours that packets to a remote carry, as the kernel's routes say
int32_t inet_source(const char *remote, char *text, size_t room)
{
	sockaddr_storage addr = {};
	int length = inet_address(remote, 1, addr);

	if (length < 0)
		return length;
	int fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	socklen_t own = sizeof(addr);
	int n = connect(fd, reinterpret_cast<sockaddr *>(&addr), static_cast<socklen_t>(length));
	if (n == 0)
		n = getsockname(fd, reinterpret_cast<sockaddr *>(&addr), &own);
	int err = errno;
	close(fd);
	if (n < 0)
		return -err;
	const void *octets = addr.ss_family == AF_INET
				 ? static_cast<const void *>(&reinterpret_cast<sockaddr_in *>(&addr)->sin_addr)
				 : static_cast<const void *>(&reinterpret_cast<sockaddr_in6 *>(&addr)->sin6_addr);
	return inet_ntop(addr.ss_family, octets, text, static_cast<socklen_t>(room)) == nullptr ? -errno : 0;
}

// tcpMd5(fd, address, prefixLength, key): the key of all remotes in the prefix, no octets = none any more
int32_t tcp_md5(int32_t fd, const char *address, uint8_t prefix_length, const uint8_t *key, size_t key_length)
{
	sockaddr_storage addr = {};
	tcp_md5sig signature = {};
	int length = inet_address(address, 0, addr);

	if (length < 0)
		return length;
	if (key_length > TCP_MD5SIG_MAXKEYLEN)
		return -EINVAL;
	static_assert(sizeof(signature.tcpm_addr) == sizeof(addr), "struct sockaddr_storage of the kernel and of libc");
	memcpy(&signature.tcpm_addr, &addr, sizeof(addr));
	signature.tcpm_flags = TCP_MD5SIG_FLAG_PREFIX;
	signature.tcpm_prefixlen = prefix_length;
	signature.tcpm_keylen = static_cast<uint16_t>(key_length);
	if (key_length > 0)
		memcpy(signature.tcpm_key, key, key_length);
	int n = setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG_EXT, &signature, sizeof(signature));
	int err = errno;
	explicit_bzero(signature.tcpm_key, sizeof(signature.tcpm_key));
	return n < 0 ? -err : 0;
}

// setOption(fd, level, name, value): an option that is an int
int32_t set_option(Instance &, const int32_t *a)
{
	int value = a[3];

	return result(setsockopt(a[0], a[1], a[2], &value, sizeof(value)));
}

// getOption(fd, level, name): an option that is an int, and not negative
int32_t get_option(Instance &, const int32_t *a)
{
	int value = 0;
	socklen_t length = sizeof(value);

	return getsockopt(a[0], a[1], a[2], &value, &length) < 0 ? -errno : value;
}

// shortenFar(fd, family, ttl): cut the payload of datagrams that came with a smaller TTL to one octet. The kernel has no
// IP_MINTTL for UDP, and tells TTLs to recvmsg() only; a filter that dropped them would leave nothing to count.
int32_t shorten_far(Instance &, const int32_t *a)
{
	uint32_t at = SKF_NET_OFF + (a[1] == AF_INET ? IPV4_TTL_AT : IPV6_HOP_LIMIT_AT);
	sock_filter program[] = {
	    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, at),
	    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, static_cast<uint32_t>(a[2]), 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, WHOLE),
	    BPF_STMT(BPF_RET | BPF_K, UDP_HEADER + 1),
	};
	sock_fprog filter = {sizeof(program) / sizeof(program[0]), program};

	return result(setsockopt(a[0], SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)));
}

} // namespace mlshim
