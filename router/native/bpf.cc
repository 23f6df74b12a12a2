// Maps of eBPF by bpf(2): what the kernel backend reads and writes while programs run. Keys and values are the octets of
// typed arrays; many entries cross the border at once. No library: the structures are the kernel's own.
#include <linux/bpf.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "addon.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace mlshim
{

static int32_t call_bpf(bpf_cmd command, bpf_attr &attr)
{
	return result(syscall(SYS_bpf, command, &attr, sizeof(attr)));
}

static uint64_t address_of(const void *place)
{
	return reinterpret_cast<uintptr_t>(place);
}

// Before 5.11 maps count against the locked memory of the process (RLIMIT_MEMLOCK).
static void raise_memlock()
{
	const rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_MEMLOCK, &all);
}

int32_t bpf_map_make(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags, const char *name)
{
	bpf_attr attr = {};

	attr.map_type = type;
	attr.key_size = key;
	attr.value_size = value;
	attr.max_entries = entries;
	attr.map_flags = flags;
	strncpy(attr.map_name, name, sizeof(attr.map_name) - 1);
	int32_t fd = call_bpf(BPF_MAP_CREATE, attr);
	if (fd != -EPERM)
		return fd;
	raise_memlock();
	return call_bpf(BPF_MAP_CREATE, attr);
}

int32_t bpf_pinned(const char *path)
{
	bpf_attr attr = {};

	attr.pathname = address_of(path);
	return call_bpf(BPF_OBJ_GET, attr);
}

static int32_t update_one(int32_t fd, const uint8_t *key, const uint8_t *value)
{
	bpf_attr attr = {};

	attr.map_fd = static_cast<uint32_t>(fd);
	attr.key = address_of(key);
	attr.value = address_of(value);
	attr.flags = BPF_ANY;
	return call_bpf(BPF_MAP_UPDATE_ELEM, attr);
}

// Entries one behind another; stops at the first that is refused.
int32_t bpf_update(int32_t fd, const uint8_t *keys, const uint8_t *values, size_t key, size_t value, uint32_t count)
{
	bpf_attr attr = {};

	attr.batch.keys = address_of(keys);
	attr.batch.values = address_of(values);
	attr.batch.count = count;
	attr.batch.map_fd = static_cast<uint32_t>(fd);
	if (count > 1 && call_bpf(BPF_MAP_UPDATE_BATCH, attr) == 0)
		return 0;
	// Not every kind of map takes batches on every kernel.
	for (uint32_t i = 0; i < count; i++) {
		int32_t status = update_one(fd, keys + i * key, values + i * value);
		if (status < 0)
			return status;
	}
	return 0;
}

int32_t bpf_lookup(int32_t fd, const uint8_t *key, uint8_t *value)
{
	bpf_attr attr = {};

	attr.map_fd = static_cast<uint32_t>(fd);
	attr.key = address_of(key);
	attr.value = address_of(value);
	return call_bpf(BPF_MAP_LOOKUP_ELEM, attr);
}

int32_t bpf_delete(int32_t fd, const uint8_t *key)
{
	bpf_attr attr = {};

	attr.map_fd = static_cast<uint32_t>(fd);
	attr.key = address_of(key);
	return call_bpf(BPF_MAP_DELETE_ELEM, attr);
}

// The key behind `key`, or the first one for nullptr.
int32_t bpf_next_key(int32_t fd, const uint8_t *key, uint8_t *next)
{
	bpf_attr attr = {};

	attr.map_fd = static_cast<uint32_t>(fd);
	attr.key = address_of(key);
	attr.next_key = address_of(next);
	return call_bpf(BPF_MAP_GET_NEXT_KEY, attr);
}

// The cookie of this process's network namespace.
int32_t netns_cookie(uint64_t &cookie)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(cookie);

	if (fd < 0)
		return -errno;
	int32_t status = result(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length));
	close(fd);
	return status;
}

} // namespace mlshim
