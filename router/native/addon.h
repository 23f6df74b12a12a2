// What the addon's files share: the instance of one JavaScript thread and the functions by theme.
//
// Every hot function has the same shape: int32 arguments, an int32 result (>= 0, or -errno), bulk data in the World,
// named by octet offsets. Nothing is allocated, no JavaScript object is touched.
#ifndef MLSHIM_ADDON_H
#define MLSHIM_ADDON_H

#include <cerrno>
#include <cstddef>
#include <cstdint>

struct sockaddr_storage;

namespace mlshim
{

// One per JavaScript thread that loaded the addon.
struct Instance {
	uint8_t *base = nullptr; // the World's memory, owned by JavaScript
	size_t size = 0;
	uint64_t calls = 0; // of hot functions

	// Address of `length` octets at world offset `at`; nullptr when they are not inside the World.
	uint8_t *at(int32_t offset, int64_t length) const
	{
		if (offset < 0 || length < 0 || static_cast<size_t>(offset) + static_cast<size_t>(length) > size)
			return nullptr;
		return base + offset;
	}
};

using Function = int32_t (*)(Instance &, const int32_t *);

inline int32_t result(int64_t n)
{
	return n < 0 ? -errno : static_cast<int32_t>(n);
}

// memory.cc
int32_t map_over(Instance &, const int32_t *);
int32_t memfd_create_sized(const char *name, int64_t bytes);
int32_t event_fd(Instance &, const int32_t *);
int32_t event_signal(Instance &, const int32_t *);
int32_t event_drain(Instance &, const int32_t *);

// events.cc
int32_t epoll_make(Instance &, const int32_t *);
int32_t epoll_add(Instance &, const int32_t *);
int32_t epoll_mod(Instance &, const int32_t *);
int32_t epoll_del(Instance &, const int32_t *);
int32_t poll_events(Instance &, const int32_t *);
int32_t read_clock(Instance &, const int32_t *);

// stream.cc
int32_t make_pair(Instance &, const int32_t *);
int32_t gate(Instance &, const int32_t *);
int32_t ungate(Instance &, const int32_t *);
int32_t set_send_buffer(Instance &, const int32_t *);
int32_t recv_lag(Instance &, const int32_t *);
int32_t take_lag(Instance &, const int32_t *);
int32_t send_octets(Instance &, const int32_t *);
int32_t shut_down(Instance &, const int32_t *);
int32_t close_fd(Instance &, const int32_t *);
int32_t queued(Instance &, const int32_t *);

// datagram.cc
int32_t recv_datagrams(Instance &, const int32_t *);
int32_t send_datagrams(Instance &, const int32_t *);

// fdpass.cc
int32_t accept_fd(Instance &, const int32_t *);
int32_t peer_cred(Instance &, const int32_t *);
int32_t peer_pid(Instance &, const int32_t *);
int32_t recv_message(Instance &, const int32_t *);
int32_t send_message(Instance &, const int32_t *);

// listen.cc
int32_t unix_listen(const char *path, int32_t type, int32_t backlog);
int32_t unix_connect(const char *path, int32_t type);
int32_t kernel_socket(Instance &, const int32_t *);
int32_t kernel_bind(Instance &, const int32_t *);
int32_t kernel_listen(Instance &, const int32_t *);
int32_t kernel_name(Instance &, const int32_t *);
int32_t kernel_recv(Instance &, const int32_t *);
int32_t kernel_send(Instance &, const int32_t *);

// host.cc
int32_t host_socket(Instance &, const int32_t *);
int32_t kernel_connect(Instance &, const int32_t *);
int32_t bind_to_device(int32_t fd, const char *name);
int32_t socket_inode(Instance &, const int32_t *);
int32_t end_socket_of(Instance &, const int32_t *);
// echo.cc
int32_t echo_socket(Instance &, const int32_t *);
int32_t echo_send(int32_t fd, const char *remote, const uint8_t *octets, size_t length);
int32_t echo_receive(int32_t fd, uint8_t *room, size_t size);

// inet.cc
int inet_address(const char *text, uint16_t port, sockaddr_storage &out);
int32_t inet_bind(int32_t fd, const char *address, uint16_t port);
int32_t inet_source(const char *remote, char *text, size_t room);
int32_t tcp_md5(int32_t fd, const char *address, uint8_t prefix_length, const uint8_t *key, size_t key_length);
int32_t set_option(Instance &, const int32_t *);
int32_t get_option(Instance &, const int32_t *);
int32_t shorten_far(Instance &, const int32_t *);

// netlink.cc
int32_t netlink_open(Instance &, const int32_t *);
int32_t netlink_send(int32_t fd, const uint8_t *octets, size_t length);
int32_t netlink_recv(int32_t fd, uint8_t *place, size_t room, int32_t timeout_ms);
int32_t netlink_filter(int32_t fd, const uint8_t *program, size_t length);
int32_t netlink_relay(Instance &, const int32_t *);

// bpf.cc
int32_t bpf_map_make(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags, const char *name);
int32_t bpf_pinned(const char *path);
int32_t bpf_update(int32_t fd, const uint8_t *keys, const uint8_t *values, size_t key, size_t value, uint32_t count);
int32_t bpf_lookup(int32_t fd, const uint8_t *key, uint8_t *value);
int32_t bpf_delete(int32_t fd, const uint8_t *key);
int32_t bpf_next_key(int32_t fd, const uint8_t *key, uint8_t *next);
int32_t netns_cookie(uint64_t &cookie);

} // namespace mlshim

#endif
