/* SPDX-License-Identifier: MIT */
/*
 * dgram.c - UDP, ping and raw sockets: each message carries struct mls_dgram in an iovec of its own
 *
 * Nothing is copied but the header. Blocking, timeouts, MSG_PEEK, MSG_TRUNC and batches are the kernel's own. What the
 * network answers later (ECONNREFUSED) comes as a message without data; it is told by the next receive or SO_ERROR.
 * Deviation: MSG_MORE and UDP_CORK send at once; README.md lists it.
 */
#include "shim.h"

#include <errno.h>

#define HEADER	       sizeof(struct mls_dgram)
#define IOV_MOST       1024 /* UIO_MAXIOV */
#define BATCH	       32
#define BATCH_IOV      256
#define FLAGS_NOT_OURS (MSG_MORE | MSG_CONFIRM | MSG_DONTROUTE | MSG_FASTOPEN | MSG_ZEROCOPY | MSG_OOB)

/* ---- sending ---- */

static long total_length(const struct kmsg *k)
{
	size_t total = 0;

	if (k->iovlen >= IOV_MOST)
		return -EMSGSIZE;
	if (k->iovlen && mem_wild(k->iov))
		return -EFAULT;
	for (size_t i = 0; i < k->iovlen; i++) {
		if ((ssize_t)k->iov[i].iov_len < 0)
			return -EINVAL;
		total += k->iov[i].iov_len;
		if (total > 0x7fffffff)
			return -EMSGSIZE;
	}
	return (long)total;
}

/* The destination given with a datagram; 0, or -errno as udp_sendmsg() and udpv6_sendmsg() have it. */
static long put_destination(uint64_t mark, const struct kmsg *k, struct mls_dgram *d)
{
	const struct sockaddr *addr = k->name;
	struct sockaddr_in6 in6;
	int family = mark_family(mark);
	long r;

	if (mem_wild(addr))
		return -EFAULT;
	if (k->namelen < (int)sizeof(sa_family_t))
		return -EINVAL;
	if (family == AF_INET6 && addr->sa_family != AF_INET6 && addr->sa_family != AF_INET)
		return addr->sa_family == AF_UNSPEC ? 1 : -EINVAL;
	r = addr_check(family, family == AF_INET6 ? 'D' : mark_kind(mark), addr, (socklen_t)k->namelen);
	if (r < 0)
		return r;
	if (family == AF_INET) {
		const struct sockaddr_in *in = k->name;

		d->addr[10] = d->addr[11] = 0xff;
		mls_copy(d->addr + 12, &in->sin_addr, 4);
		d->port = in->sin_port;
	} else {
		addr_native(AF_INET6, addr, (socklen_t)k->namelen, (uint8_t *)&in6);
		mls_copy(d->addr, &in6.sin6_addr, 16);
		d->port = in6.sin6_port;
		d->scope = in6.sin6_scope_id;
	}
	if (d->port == 0 && mark_kind(mark) == 'D')
		return -EINVAL;
	d->flags |= MLS_DG_ADDR;
	return 0;
}

/* Fills the header for one message; its data's length or -errno. */
static long prepare(uint64_t mark, const struct kmsg *k, struct mls_dgram *d)
{
	long total = total_length(k), most, r;

	if (total < 0)
		return total;
	*d = (struct mls_dgram){.family = (uint8_t)mark_family(mark)};
	r = 1;
	if (k->name && k->namelen) {
		r = put_destination(mark, k, d);
		if (r < 0)
			return r;
	}
	if (r == 1 && (mark & MARK_STATE) != STATE_CONNECTED)
		return -EDESTADDRREQ;
	if (k->control && k->controllen) {
		r = cmsg_to_dgram(k, mark_family(mark), d);
		if (r < 0)
			return r;
	}
	/* 65535 less the headers that count into the length field: IPv6's own does not. */
	most = mark_family(mark) == AF_INET6 ? 65535 - 8 : 65535 - 28;
	return total > most ? -EMSGSIZE : total;
}

/* Where do datagrams to this destination live? Asked once, at the first sendto() of a socket nobody bound. */
static long choose_lane(int fd, uint64_t *mark, const struct kmsg *k)
{
	struct mls_opt opts[64];
	uint8_t native[28];
	struct chan_call c;
	struct mls_id id;
	long r;

	if (!ident_of(fd, &id))
		return -ENETDOWN;
	chan_init(&c, MLS_ROUTE_LANE, &id);
	c.req.arg[0] = id.kind == 'R' ? SOCK_RAW : SOCK_DGRAM;
	c.req.addr_len = (uint16_t)addr_native(id.family, k->name, (socklen_t)k->namelen, native);
	c.addr = native;
	c.room = opts;
	c.room_len = sizeof(opts);
	c.may_fd = 1;
	c.cloexec = 1;
	r = chan_do(&c);
	if (r < 0)
		return r;
	if (r == MLS_LANE_DIRECT)
		return (r = lane_to_kernel(fd, &id, &c)) < 0 ? r : MLS_LANE_DIRECT;
	*mark |= MARK_LANED;
	mark_set(fd, *mark);
	return MLS_LANE_STACK;
}

static long send_failed(int fd, long err)
{
	if (err == -ECONNRESET || err == -EPIPE)
		return pair_is_dead(fd) ? -ENETDOWN : -EPIPE;
	return err;
}

static void frame(struct iovec *out, struct mls_dgram *d, const struct kmsg *k)
{
	out[0] = (struct iovec){d, HEADER};
	for (size_t i = 0; i < k->iovlen; i++)
		out[1 + i] = k->iov[i];
}

long dgram_send(int fd, uint64_t mark, const struct kmsg *k, int flags)
{
	struct mls_dgram d;
	long r;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	r = prepare(mark, k, &d);
	if (r < 0)
		return r;
	if (unlikely(!(mark & MARK_LANED)) && (d.flags & MLS_DG_ADDR)) {
		r = choose_lane(fd, &mark, k);
		if (r == MLS_LANE_DIRECT)
			return sys(sendmsg, fd, k, flags);
		if (r < 0)
			return r;
	}
	{
		struct iovec iov[k->iovlen + 1];
		struct kmsg out = {.iov = iov, .iovlen = k->iovlen + 1};

		frame(iov, &d, k);
		r = sys(sendmsg, fd, &out, flags & ~FLAGS_NOT_OURS);
	}
	return r < 0 ? send_failed(fd, r) : r - (long)HEADER;
}

long dgram_sendmmsg(int fd, uint64_t mark, struct mmsghdr *vec, unsigned int n, int flags)
{
	struct mls_dgram head[BATCH];
	struct mmsghdr out[BATCH];
	struct iovec iov[BATCH_IOV];
	unsigned int done = 0;
	long r = 0;

	if (!mem_readable(vec, n * sizeof(*vec)))
		return -EFAULT;
	while (done < n) {
		unsigned int count = 0, used = 0;

		while (count < BATCH && done + count < n) {
			struct kmsg k, *o = (struct kmsg *)&out[count].msg_hdr;

			kmsg_of(&k, &vec[done + count].msg_hdr);
			if (used + k.iovlen + 1 > BATCH_IOV || !(mark & MARK_LANED))
				break;
			r = prepare(mark, &k, &head[count]);
			if (r < 0)
				break;
			frame(iov + used, &head[count], &k);
			*o = (struct kmsg){.iov = iov + used, .iovlen = k.iovlen + 1};
			used += (unsigned int)k.iovlen + 1;
			count++;
		}
		if (count == 0) {
			/* The first of a socket whose lane is open, one that is wrong, or one with very many parts. */
			r = mls_sendmsg(fd, &vec[done].msg_hdr, flags);
			if (r < 0)
				break;
			vec[done++].msg_len = (unsigned int)r;
			mark = mark_of(fd);
			if (mark == 0 && done < n) {
				r = mls_sendmmsg(fd, vec + done, n - done, flags);
				return r < 0 ? (long)done : r + (long)done;
			}
			continue;
		}
		r = sys(sendmmsg, fd, out, count, flags & ~FLAGS_NOT_OURS);
		if (r < 0) {
			r = send_failed(fd, r);
			break;
		}
		for (long i = 0; i < r; i++)
			vec[done + (unsigned int)i].msg_len = out[i].msg_len - (unsigned int)HEADER;
		done += (unsigned int)r;
		if ((unsigned int)r < count)
			break;
	}
	return done > 0 ? (long)done : r;
}

/* ---- receiving ---- */

/* Result 0 never happens to a message with a header: the application shut it down, or the router is gone. */
static long end_of_messages(int fd)
{
	struct chan_call c;
	struct mls_id id;

	if (!pair_is_dead(fd) || !ident_of(fd, &id))
		return 0;
	chan_init(&c, MLS_GETSOCKNAME, &id);
	return chan_do(&c) == -ENETDOWN ? -ENETDOWN : 0;
}

static void put_source(uint64_t mark, const struct mls_dgram *d, struct kmsg *k)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = d->port};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = d->port, .sin6_scope_id = d->scope};
	const void *from = &in6;
	int full = sizeof(in6);

	if (mark_family(mark) == AF_INET) {
		mls_copy(&in.sin_addr, d->addr + 12, 4);
		from = &in;
		full = sizeof(in);
	} else {
		mls_copy(&in6.sin6_addr, d->addr, 16);
	}
	if (k->name)
		mls_copy(k->name, from, (size_t)(k->namelen < full ? k->namelen : full));
	k->namelen = k->name ? full : 0;
}

/* What the application sees of a message that came: address, control messages, flags. */
static void unframe(uint64_t mark, const struct mls_dgram *d, struct kmsg *k, unsigned int flags)
{
	k->flags = flags & ~(unsigned int)MSG_EOR;
	put_source(mark, d, k);
	if (k->control && (mark & MARK_ANY_CMSG))
		cmsg_from_dgram(k, mark, d);
	else
		k->controllen = 0;
}

static void drop_head(int fd)
{
	char c;

	sys(recvfrom, fd, &c, 1, MSG_DONTWAIT, NULL, NULL);
}

long dgram_recv(int fd, uint64_t mark, struct kmsg *k, int flags)
{
	struct mls_dgram d;
	long r;

	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	if (k->iovlen >= IOV_MOST)
		return -EMSGSIZE;
	if (k->iovlen && mem_wild(k->iov))
		return -EFAULT;
	for (;;) {
		struct iovec iov[k->iovlen + 1];
		struct kmsg in = {.iov = iov, .iovlen = k->iovlen + 1};

		frame(iov, &d, k);
		r = sys(recvmsg, fd, &in, flags & ~MSG_OOB);
		if (r == 0)
			return end_of_messages(fd);
		if (r < 0)
			return r == -ECONNRESET ? -ENETDOWN : r;
		if (r < (long)HEADER)
			continue;
		if (unlikely(d.flags & MLS_DG_ERROR)) {
			if (flags & MSG_PEEK)
				drop_head(fd);
			return -d.err;
		}
		unframe(mark, &d, k, in.flags);
		return r - (long)HEADER;
	}
}

/* Moves the data of a received message forward over one that carried only an error. */
static void move_data(const struct kmsg *from, const struct kmsg *to, size_t n)
{
	size_t f = 0, f_at = 0, t = 0, t_at = 0;

	while (n > 0 && f < from->iovlen && t < to->iovlen) {
		size_t a = from->iov[f].iov_len - f_at, b = to->iov[t].iov_len - t_at;
		size_t step = a < b ? a : b;

		if (step > n)
			step = n;
		mls_copy((char *)to->iov[t].iov_base + t_at, (char *)from->iov[f].iov_base + f_at, step);
		n -= step;
		f_at += step;
		t_at += step;
		if (f_at == from->iov[f].iov_len)
			f++, f_at = 0;
		if (t_at == to->iov[t].iov_len)
			t++, t_at = 0;
	}
}

/* One kernel call's worth. *err: an error message was among them (told if nothing else came). */
static long recv_batch(int fd, uint64_t mark, struct mmsghdr *vec, unsigned int n, int flags, void *timeout, long *err)
{
	struct mls_dgram head[BATCH];
	struct mmsghdr in[BATCH];
	struct iovec iov[BATCH_IOV];
	unsigned int count = 0, used = 0, kept = 0;
	struct kmsg k, to;
	long r;

	for (; count < BATCH && count < n; count++) {
		kmsg_of(&k, &vec[count].msg_hdr);
		if (k.iovlen >= BATCH_IOV)
			return -EMSGSIZE;
		if (used + k.iovlen + 1 > BATCH_IOV)
			break;
		frame(iov + used, &head[count], &k);
		*(struct kmsg *)&in[count].msg_hdr = (struct kmsg){.iov = iov + used, .iovlen = k.iovlen + 1};
		used += (unsigned int)k.iovlen + 1;
	}
	r = sys(recvmmsg, fd, in, count, flags & ~MSG_OOB, timeout);
	for (long i = 0; i < r; i++) {
		size_t data = in[i].msg_len - HEADER;

		if (in[i].msg_len < HEADER || (head[i].flags & MLS_DG_ERROR)) {
			*err = in[i].msg_len < HEADER ? end_of_messages(fd) : -head[i].err;
			continue;
		}
		kmsg_of(&to, &vec[kept].msg_hdr);
		if (kept != (unsigned int)i) {
			kmsg_of(&k, &vec[i].msg_hdr);
			move_data(&k, &to, data);
		}
		unframe(mark, &head[i], &to, ((struct kmsg *)&in[i].msg_hdr)->flags);
		kmsg_back(&to, &vec[kept].msg_hdr);
		vec[kept++].msg_len = (unsigned int)data;
	}
	return r < 0 ? (r == -ECONNRESET ? -ENETDOWN : r) : (long)kept;
}

long dgram_recvmmsg(int fd, uint64_t mark, struct mmsghdr *vec, unsigned int n, int flags, void *timeout)
{
	unsigned int done = 0;
	long r = 0, err = 0;

	if (!mem_readable(vec, n * sizeof(*vec)))
		return -EFAULT;
	while (done < n && err == 0) {
		int more = done > 0 && (flags & MSG_WAITFORONE) ? flags | MSG_DONTWAIT : flags;

		r = recv_batch(fd, mark, vec + done, n - done, more, timeout, &err);
		if (r <= 0)
			break;
		done += (unsigned int)r;
		if ((flags & MSG_WAITFORONE) && (unsigned int)r < BATCH)
			break;
		if (timeout)
			break;
	}
	if (done > 0)
		return (long)done;
	return err ? err : r;
}

/* FIONREAD: the length of the first datagram, not of the queue. */
long dgram_pending(int fd)
{
	struct mls_dgram d;
	long r = sys(recvfrom, fd, &d, sizeof(d), MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT, NULL, NULL);

	return r > (long)HEADER ? r - (long)HEADER : 0;
}

int dgram_error(int fd)
{
	struct mls_dgram d;
	long r = sys(recvfrom, fd, &d, sizeof(d), MSG_PEEK | MSG_DONTWAIT, NULL, NULL);

	if (r < (long)HEADER || !(d.flags & MLS_DG_ERROR))
		return 0;
	drop_head(fd);
	return d.err;
}
