// Readiness and time: one epoll set with int32 tags, its answers and the clock written into the World.
#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <cstring>

#include "addon.h"

namespace mlshim
{

constexpr int MAX_EVENTS = 256;

int32_t epoll_make(Instance &, const int32_t *)
{
	return result(epoll_create1(EPOLL_CLOEXEC));
}

static int32_t control(int op, const int32_t *a)
{
	epoll_event event = {};

	event.events = static_cast<uint32_t>(a[2]);
	event.data.u64 = static_cast<uint32_t>(a[3]);
	return result(epoll_ctl(a[0], op, a[1], &event));
}

// epollAdd(epfd, fd, events, tag)
int32_t epoll_add(Instance &, const int32_t *a)
{
	return control(EPOLL_CTL_ADD, a);
}

// epollMod(epfd, fd, events, tag)
int32_t epoll_mod(Instance &, const int32_t *a)
{
	return control(EPOLL_CTL_MOD, a);
}

// epollDel(epfd, fd)
int32_t epoll_del(Instance &, const int32_t *a)
{
	return result(epoll_ctl(a[0], EPOLL_CTL_DEL, a[1], nullptr));
}

// Two wrapping int32: microseconds and milliseconds of the monotonic clock.
static void put_clock(uint8_t *place)
{
	timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t us = static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
	uint32_t words[2] = {static_cast<uint32_t>(us), static_cast<uint32_t>(us / 1000)};
	memcpy(place, words, sizeof(words));
}

// readClock(at)
int32_t read_clock(Instance &self, const int32_t *a)
{
	uint8_t *place = self.at(a[0], 8);

	if (place == nullptr)
		return -EFAULT;
	put_clock(place);
	return 0;
}

static uint64_t microseconds()
{
	timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

// Words of the World that another process changes when it has work for us, at `at`: how many, then (offset, value) pairs.
static bool has_changed(Instance &self, const int32_t *watched)
{
	for (int32_t i = 0; i < watched[0]; i++) {
		auto *word = reinterpret_cast<int32_t *>(self.at(watched[1 + 2 * i], 4));
		if (word == nullptr || __atomic_load_n(word, __ATOMIC_ACQUIRE) != watched[2 + 2 * i])
			return true;
	}
	return false;
}

// poll(epfd, timeoutMs, at, maxEvents, spinUs, watchAt): us, ms, then (tag, events) pairs; the clock is read after the
// wait. With spinUs it does not sleep: it looks again and again until an event is there, a watched word has changed, or
// the time is up. Doing that here costs the thread a tenth of what a turn of its loop would.
int32_t poll_events(Instance &self, const int32_t *a)
{
	epoll_event events[MAX_EVENTS];
	int room = std::clamp(a[3], 1, MAX_EVENTS);
	uint8_t *place = self.at(a[2], 8 + 8 * static_cast<int64_t>(room));
	int n;

	if (place == nullptr)
		return -EFAULT;
	if (a[4] > 0) {
		auto *watched = reinterpret_cast<int32_t *>(self.at(a[5], 4));
		if (watched == nullptr || self.at(a[5], 4 + 8 * static_cast<int64_t>(watched[0])) == nullptr)
			return -EFAULT;
		uint64_t end = microseconds() + static_cast<uint64_t>(a[4]);
		do
			n = epoll_wait(a[0], events, room, 0);
		while (n == 0 && !has_changed(self, watched) && microseconds() < end);
	} else {
		n = epoll_wait(a[0], events, room, a[1]);
	}
	if (n < 0 && errno != EINTR)
		return -errno;
	put_clock(place);
	for (int i = 0; i < n; i++) {
		uint32_t pair[2] = {static_cast<uint32_t>(events[i].data.u64), events[i].events};
		memcpy(place + 8 + 8 * i, pair, sizeof(pair));
	}
	return n < 0 ? 0 : n;
}

} // namespace mlshim
