/* SPDX-License-Identifier: MIT */
/*
 * shim.h - what the files of the shim share
 *
 * Rules for every function here: results are the kernel's (>= 0 or -errno), nothing is allocated, nothing is kept in the
 * process, all memory is the caller's stack, so each may run in a signal handler, after vfork() and in any thread.
 */
#ifndef MLSHIM_SHIM_H
#define MLSHIM_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/socket.h>
#include <sys/uio.h>
#include <netinet/in.h>

#include "mlshim_proto.h"
#include "sys.h"

#define EXPORT	     __attribute__((visibility("default")))
#define ALIAS(name)  __attribute__((visibility("default"), alias(#name), copy(name)))
#define likely(x)    __builtin_expect(!!(x), 1)
#define unlikely(x)  __builtin_expect(!!(x), 0)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- ident.c: who is this fd? ---- */

/* What the name of the router's end says; the authority for every control call. */
struct mls_id {
	char kind;	 /* 'S' TCP, 'D' UDP, 'P' ping, 'R' raw */
	uint8_t family;	 /* AF_INET or AF_INET6 */
	uint64_t socket; /* session << 32 | id */
};

/* 1 and *id filled if fd is one of ours, else 0. One call: getpeername(). */
int ident_of(int fd, struct mls_id *id);

/*
 * The mark: 64 bits the shim keeps inside the socket itself, in SO_MAX_PACING_RATE, which has no effect on AF_UNIX. It
 * says what the calls of every packet need to know, for one getsockopt(); 0 = not ours. Like everything in the socket it
 * is shared by dup, fork, exec and fd passing. The application's SO_MAX_PACING_RATE lives in the router.
 */
#define MARK_MAGIC	 0x6d6c000000000000ULL
#define MARK_MAGIC_MASK	 0xffff000000000000ULL
#define MARK_KIND_SHIFT	 40
#define MARK_V6		 (1ULL << 39)
#define MARK_STATE	 (7ULL << 36)
#define STATE_FRESH	 (0ULL << 36) /* neither connected nor listening */
#define STATE_CONNECTING (1ULL << 36) /* asked the router; SO_SNDBUF tells whether the gate is open */
#define STATE_CONNECTED	 (2ULL << 36)
#define STATE_LISTEN	 (3ULL << 36)
#define STATE_FAILED	 (4ULL << 36) /* the attempt failed and the app was told: the pair is dead */
/* Datagram sockets: which control messages the app wants to see, and what was settled. */
#define MARK_PKTINFO	 (1 << 0)
#define MARK_TTL	 (1 << 1)
#define MARK_TOS	 (1 << 2)
#define MARK_PKTINFO6	 (1 << 3)
#define MARK_HOPLIMIT	 (1 << 4)
#define MARK_TCLASS	 (1 << 5)
#define MARK_STAMP	 (1 << 6) /* SO_TIMESTAMP */
#define MARK_STAMPNS	 (1 << 7) /* SO_TIMESTAMPNS */
#define MARK_GRO	 (1 << 8)
#define MARK_LANED	 (1 << 9) /* the lane was decided: bound, or asked at the first sendto() */
#define MARK_ANY_CMSG	 0x1ff

uint64_t mark_of(int fd);
int mark_set(int fd, uint64_t mark);
uint64_t mark_new(const struct mls_id *id);

static inline char mark_kind(uint64_t mark)
{
	return (char)(mark >> MARK_KIND_SHIFT);
}

/* A socket whose messages carry struct mls_dgram. Not ours has kind 0. */
static inline int mark_is_dgram(uint64_t mark)
{
	return mark != 0 && mark_kind(mark) != 'S';
}

static inline int mark_is_stream(uint64_t mark)
{
	return mark_kind(mark) == 'S';
}

static inline int mark_family(uint64_t mark)
{
	return mark & MARK_V6 ? AF_INET6 : AF_INET;
}

/* ---- env.c: the settings, from the environment or, if the program scrubbed it, from /proc ---- */

/* Length of NAME's value copied to buf (cut and terminated), or -1. Ignored (-1) in programs that gained privileges. */
int env_get(const char *name, char *buf, size_t room);
int env_fail_open(void);
/* Was this program started as a routing daemon (netlink.c)? */
int env_is_routing(void);
/* Keep what was found for the time after the program has scrubbed every trace of it. */
void env_remember(void);

/* ---- chan.c: the request to the router ---- */

struct chan_call {
	struct mls_req req;
	const void *payload; /* req.payload_len octets, may be the application's memory */
	const void *addr;    /* req.addr_len octets, may be the application's memory; NULL: req.addr is filled */
	int pass_fd;	     /* -1 = none */
	int want_fd;	     /* a descriptor comes back in got_fd */
	int may_fd;	     /* one may come back: the kernel socket of a direct lane */
	int cloexec;	     /* it is to be closed on exec */
	int64_t wait[2];     /* how long an answer may take, struct timeval; 0 = as long as it takes */
	int interruptible;   /* signals end the wait with -EINTR */

	struct mls_rep rep;
	void *room; /* where the payload of the answer goes */
	size_t room_len;
	size_t got_len; /* what came; may be less than rep.payload_len */
	int got_fd;
};

void chan_init(struct chan_call *c, int op, const struct mls_id *id);
/* The router's result (>= 0 or -errno), or -ENETDOWN where there is none. */
long chan_do(struct chan_call *c);

/* ---- addr.c ---- */

/* accept(), getsockname()...: copy as move_addr_to_user() does: cut to *len, *len = full length. */
long addr_to_user(const void *src, uint32_t n, struct sockaddr *addr, socklen_t *len);
/* Checks an address given to connect(), bind() or sendto() for this family; 0 or -errno. */
long addr_check(int family, char kind, const struct sockaddr *addr, socklen_t len);
/* In `out` (28 octets) the address in the socket's family: 4 in a 6 socket becomes mapped. Returns its length. */
uint32_t addr_native(int family, const struct sockaddr *addr, socklen_t len, uint8_t *out);

struct addrinfo;

/* ---- the calls, by theme; exported symbols only unpack their arguments ---- */

long mls_socket(int domain, int type, int protocol);
long mls_bind(int fd, const struct sockaddr *addr, socklen_t len);
long mls_getname(int fd, int op, struct sockaddr *addr, socklen_t *len);
long mls_shutdown(int fd, int how);
long mls_connect(int fd, const struct sockaddr *addr, socklen_t len);
long mls_listen(int fd, int backlog);
long mls_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags);
long mls_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
long mls_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
long mls_ioctl(int fd, unsigned int request, void *arg);
long mls_execve(const char *path, char *const argv[], char *const envp[]);
long mls_execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags);

/* proc.c: what an environment lacks of ours */
#define PATCH_MOST 4
#define PATCH_ROOM 1024
struct patch {
	int count;
	char text[PATCH_MOST][PATCH_ROOM]; /* NAME=value */
	int replace[PATCH_MOST];	   /* index in the old environment, -1 = appended */
};
void patch_plan(struct patch *p, char *const envp[]);
size_t patch_count(char *const envp[]);
/* out has room for patch_count() + PATCH_MOST + 1 pointers. */
void patch_apply(const struct patch *p, char *const envp[], size_t n, char **out);

/* next.c */
void *next_function(const char *name);

/* names.c, host.c, ifaddr.c */
void host_error(int herr); /* h_errno */
void *map_block(size_t n);
long resolve(struct chan_call *c, const char *host, const char *service, const struct addrinfo *hints);
long nameinfo(const struct sockaddr *addr, socklen_t len, int flags, char *text, size_t room);
long ifconf_fill(void *arg);
/* The router's interfaces and addresses: how many entries were filled in, or -errno. */
long interfaces_ask(struct mls_ifaddr *out, size_t room);

/* connect.c */
int fd_is_nonblocking(int fd);
int gate_is_open(int fd);
int pair_is_dead(int fd);
/* The pending error as the router knows it (positive, 0 = none); clears it. */
int pending_error(int fd, const struct mls_id *id);
/* A failed call on a stream of ours: the errno TCP would have given for what AF_UNIX said. */
long stream_error(int fd, uint64_t mark, long err);

/* msg.c, dgram.c: msg as the application gave it (its libc's idea of padding included) */
long mls_send(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len);
long mls_recv(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len);
long mls_sendmsg(int fd, const struct msghdr *msg, int flags);
long mls_recvmsg(int fd, struct msghdr *msg, int flags);
long mls_sendmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags);
long mls_recvmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags, void *timeout);
long mls_write(int fd, const void *buf, size_t n);
long mls_read(int fd, void *buf, size_t n);
long mls_writev(int fd, const struct iovec *iov, int n);
long mls_readv(int fd, const struct iovec *iov, int n);

/* The kernel's struct msghdr: both libcs' but for musl's padding, which may hold anything. */
struct kmsg {
	void *name;
	int namelen;
	struct iovec *iov;
	size_t iovlen;
	void *control;
	size_t controllen;
	unsigned int flags;
};
_Static_assert(sizeof(struct kmsg) == sizeof(struct msghdr), "struct msghdr");
void kmsg_of(struct kmsg *k, const struct msghdr *msg);
void kmsg_back(const struct kmsg *k, struct msghdr *msg);

long dgram_send(int fd, uint64_t mark, const struct kmsg *k, int flags);
long dgram_recv(int fd, uint64_t mark, struct kmsg *k, int flags);
long dgram_sendmmsg(int fd, uint64_t mark, struct mmsghdr *vec, unsigned int n, int flags);
long dgram_recvmmsg(int fd, uint64_t mark, struct mmsghdr *vec, unsigned int n, int flags, void *timeout);
long dgram_pending(int fd);
/* The error a MLS_DG_ERROR message at the head of the queue carries (consumed), or 0. */
int dgram_error(int fd);

/* cmsg.c: control messages of datagrams */
long cmsg_to_dgram(const struct kmsg *k, int family, struct mls_dgram *d);
void cmsg_from_dgram(struct kmsg *k, uint64_t mark, const struct mls_dgram *d);

/* netlink.c */
/* Is fd an rtnetlink socket of a routing daemon? Then it sends by netlink_send(). */
int netlink_is_route(int fd);
long netlink_send(int fd, const struct kmsg *k, int flags);
/* `got` octets came from an rtnetlink socket of a routing daemon: show it our network. Returns how many there are now. */
long netview_edit(const struct iovec *iov, long got);
long netlink_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
long mls_capset(void *header, const void *data);

/* lane.c */
/* The answer was MLS_LANE_DIRECT: put a kernel socket with the same options where fd is. 0 or -errno. */
long lane_to_kernel(int fd, const struct mls_id *id, const struct chan_call *answer);
/* Put the description of `from` where `to` is, keeping to's flags and epoll registrations; closes `from`. */
long lane_swap(int from, int to);

#endif
