// Shared memory and wake-ups: memfds mapped over pages of the World, eventfds.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "addon.h"

namespace mlshim
{

// A memfd of a fixed size: the seals keep the other side from shrinking it under our mapping (SIGBUS).
int32_t memfd_create_sized(const char *name, int64_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, bytes) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		int err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

// mapOver(fd, at, bytes)
int32_t map_over(Instance &self, const int32_t *a)
{
	int32_t fd = a[0], at = a[1], bytes = a[2];
	uint8_t *place = self.at(at, bytes);
	long page = sysconf(_SC_PAGESIZE);

	if (place == nullptr)
		return -EFAULT;
	if (at % page != 0 || bytes <= 0 || bytes % page != 0)
		return -EINVAL;
	void *got = mmap(place, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	return got == MAP_FAILED ? -errno : 0;
}

int32_t event_fd(Instance &, const int32_t *)
{
	return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

// signal(fd)
int32_t event_signal(Instance &, const int32_t *a)
{
	uint64_t one = 1;
	ssize_t n = write(a[0], &one, sizeof(one));

	return n < 0 && errno != EAGAIN ? -errno : 0; // EAGAIN: the counter is full, so the wake-up is pending anyway
}

// drain(fd): 1 when it had been signalled, else 0
int32_t event_drain(Instance &, const int32_t *a)
{
	uint64_t count;
	ssize_t n = read(a[0], &count, sizeof(count));

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return 1;
}

} // namespace mlshim
