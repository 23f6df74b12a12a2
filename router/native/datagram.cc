// Message sockets (UDP, ping, raw) over SEQPACKET pairs, in batches. What is in the messages is shimlink's business.
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>

#include "addon.h"

namespace mlshim
{

constexpr int MAX_BATCH = 64;

// recvDatagrams(fd, at, slot, count, lengthsAt): message i goes to at + i * slot, its length to int32 lengthsAt[i].
// Length 0 is the end: the app closed its last descriptor. A message longer than its slot is cut to it.
int32_t recv_datagrams(Instance &self, const int32_t *a)
{
	mmsghdr messages[MAX_BATCH];
	iovec parts[MAX_BATCH];
	int count = std::clamp(a[3], 1, MAX_BATCH);
	uint8_t *place = self.at(a[1], static_cast<int64_t>(a[2]) * count);
	uint8_t *lengths = self.at(a[4], 4 * static_cast<int64_t>(count));

	if (place == nullptr || lengths == nullptr)
		return -EFAULT;
	memset(messages, 0, sizeof(messages[0]) * static_cast<size_t>(count));
	for (int i = 0; i < count; i++) {
		parts[i] = {place + static_cast<size_t>(i) * static_cast<size_t>(a[2]), static_cast<size_t>(a[2])};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	int n = recvmmsg(a[0], messages, static_cast<unsigned>(count), MSG_DONTWAIT, nullptr);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		uint32_t length = messages[i].msg_len;
		memcpy(lengths + 4 * i, &length, sizeof(length));
	}
	return n;
}

// sendDatagrams(fd, headAt, headLength, at, length, cut): the payload as one message, or cut into pieces of `cut`
// octets (the last may be shorter), each behind the same header. Returns the number of messages sent; -errno when none.
int32_t send_datagrams(Instance &self, const int32_t *a)
{
	mmsghdr messages[MAX_BATCH];
	iovec parts[MAX_BATCH][2];
	uint8_t *head = self.at(a[1], a[2]);
	uint8_t *place = self.at(a[3], a[4]);
	int64_t length = a[4];
	int64_t cut = a[5] > 0 ? a[5] : std::max<int64_t>(length, 1);
	int64_t total = std::max<int64_t>(1, (length + cut - 1) / cut);
	int32_t sent = 0;

	if (head == nullptr || place == nullptr)
		return -EFAULT;
	while (sent < total) {
		int count = static_cast<int>(std::min<int64_t>(total - sent, MAX_BATCH));
		memset(messages, 0, sizeof(messages[0]) * static_cast<size_t>(count));
		for (int i = 0; i < count; i++) {
			int64_t from = (sent + i) * cut;
			parts[i][0] = {head, static_cast<size_t>(a[2])};
			parts[i][1] = {place + from, static_cast<size_t>(std::min(cut, length - from))};
			messages[i].msg_hdr.msg_iov = parts[i];
			messages[i].msg_hdr.msg_iovlen = 2;
		}
		int n = sendmmsg(a[0], messages, static_cast<unsigned>(count), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return sent > 0 ? sent : -errno;
		sent += n;
		if (n < count)
			break;
	}
	return sent;
}

} // namespace mlshim
