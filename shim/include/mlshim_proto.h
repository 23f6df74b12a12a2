/* SPDX-License-Identifier: MIT */
/*
 * mlshim_proto.h - what the shim and the router say to each other
 *
 * Twin of router/shimlink/proto.ts; test/shim/abi.test.ts compares the two.
 *
 * Three channels:
 *  1. Requests: a SOCK_SEQPACKET connection per call to the router's socket (path in MLSHIM_SOCKET, mode 0600).
 *     One struct mls_req (+ payload, + fds by SCM_RIGHTS), one struct mls_rep (+ payload, + fds).
 *  2. The socket itself: one end of an AF_UNIX pair made by the router. TCP: SOCK_STREAM, plain octets.
 *     UDP, ping, raw: SOCK_SEQPACKET, each message starts with a struct mls_dgram.
 *  3. Listening sockets: the same stream pair carries one struct mls_accept + one fd per connection, router -> app.
 *
 * Identity: the router binds its end of each pair to the abstract name "\0mls:KF:SSSSSSSS:IIIIIIII" (24 octets after
 * the NUL: K = S stream, D datagram, P ping, R raw; F = 4 or 6; session and socket id in lower-case hex), which
 * getpeername() on the app's end returns. It survives dup, fork, exec and SCM_RIGHTS; nothing is kept in the process.
 * The shim keeps its own mark in SO_MAX_PACING_RATE of the app's end; the router leaves that option alone.
 * All integers are in host byte order unless said otherwise; the two sides run on one machine.
 */
#ifndef MLSHIM_PROTO_H
#define MLSHIM_PROTO_H

#include <stdint.h>

#define MLS_MAGIC	0x314c534dU /* "MSL1" */
#define MLS_PAYLOAD_MAX 61440
#define MLS_NAME_PREFIX "mls:"
#define MLS_NAME_LEN	25 /* with the leading NUL */

enum mls_op {
	/*
	 * arg: domain, type (flags included), protocol -> result 0, 1 fd (app end, blocking, gated if TCP). With an id: the
	 * pair of that socket is dead (refused, disconnected); the new one inherits its options and explicit bind.
	 */
	MLS_SOCKET = 1,
	/*
	 * addr, arg[0] = 1 if the caller will not block; fd: dup of the app end -> 0, -EINPROGRESS, -errno, MLS_LANE_DIRECT.
	 * A caller that blocks is answered when the handshake ends; it may hang up earlier (signal, SO_SNDTIMEO), then the
	 * handshake goes on. AF_UNSPEC disconnects. What a second connect() says is known to the shim.
	 */
	MLS_CONNECT = 2,
	MLS_BIND = 3,	     /* addr -> 0, -errno, MLS_LANE_DIRECT */
	MLS_LISTEN = 4,	     /* arg[0] = backlog; fd: dup of the app end -> 0, -errno */
	MLS_GETSOCKNAME = 5, /* -> addr */
	MLS_GETPEERNAME = 6, /* -> addr, -ENOTCONN */
	MLS_GETSOCKOPT = 7,  /* arg: level, name, room -> payload = value */
	MLS_SETSOCKOPT = 8,  /* arg: level, name; payload = value -> 0, -errno */
	MLS_SHUTDOWN = 9,    /* listeners, datagrams: arg[0] = how -> 0, -errno; then the pair's end is shut down */
	MLS_IOCTL = 10,	     /* arg[0] = request; payload in/out (struct ifreq, ints) */
	/*
	 * payload = host NUL service NUL; arg: family, socktype, protocol, ai_flags -> payload = struct mls_ai[] + canonical
	 * name NUL; result = count, or EAI_* - 1000 (EAI_* are negative)
	 */
	MLS_RESOLVE = 11,
	MLS_NAMEINFO = 12, /* addr, arg[0] = NI_ flags -> payload = host NUL service NUL */
	MLS_IFADDRS = 13,  /* -> payload = struct mls_ifaddr[] */
	/* addr, arg[0] = socktype: asked once, at the first sendto() of an unbound socket -> MLS_LANE_* */
	MLS_ROUTE_LANE = 14,
	MLS_HELLO = 15, /* -> arg: protocol version, router pid */
};

#define MLS_VERSION	1
#define MLS_LANE_STACK	0
/*
 * The shim replaces the fd by a kernel socket: payload = struct mls_opt[] to replay. With a descriptor that is the socket, bound
 * to where it has to leave; else the shim makes one of protocol arg[0] and binds it to addr, if there is one.
 */
#define MLS_LANE_DIRECT 1
/* arg[MLS_LANE_ADMIT] of that answer is not 0: the router could not end the socket unless the process lets it (PR_SET_PTRACER). */
#define MLS_LANE_ADMIT	1

struct mls_req {
	uint32_t magic;
	uint16_t op;
	uint16_t addr_len; /* octets used in addr, 0 = none */
	uint64_t id;	   /* session << 32 | socket id, as in the peer name; 0 where no socket is meant */
	int32_t arg[6];
	uint32_t payload_len; /* octets after the struct */
	uint32_t pad;
	uint8_t addr[32]; /* struct sockaddr_in or sockaddr_in6 */
};
_Static_assert(sizeof(struct mls_req) == 80, "mls_req");

struct mls_rep {
	uint32_t magic;
	int32_t result; /* >= 0, or -errno */
	uint32_t addr_len;
	uint32_t payload_len;
	int32_t arg[4];
	uint8_t addr[32];
};
_Static_assert(sizeof(struct mls_rep) == 64, "mls_rep");

/* In front of every datagram, both ways (its own iovec). */
#define MLS_DG_ADDR    1  /* addr/port are set; without it the connected peer is meant */
#define MLS_DG_ERROR   2  /* router -> app: no data; err is the pending socket error (ECONNREFUSED ...) */
#define MLS_DG_TTL     4  /* app -> router: ttl overrides the socket's */
#define MLS_DG_TOS     8  /* app -> router: tos overrides the socket's */
#define MLS_DG_IFINDEX 16 /* app -> router: leave by this interface (IP_PKTINFO, IPV6_PKTINFO) */
#define MLS_DG_LOCAL   32 /* app -> router: local is the source address to use */
struct mls_dgram {
	uint8_t family; /* AF_INET or AF_INET6 of the socket */
	uint8_t flags;
	uint8_t ttl;
	uint8_t tos;
	uint16_t port;	   /* network order; ping: identifier; raw: protocol */
	uint16_t gso_size; /* UDP_SEGMENT / UDP_GRO; 0 = one datagram */
	uint32_t ifindex;  /* where it came in */
	uint32_t scope;	   /* sin6_scope_id */
	uint8_t addr[16];  /* peer; IPv4 as ::ffff:a.b.c.d */
	uint8_t local[16]; /* our address it was sent to (PKTINFO) */
	uint64_t time_ns;  /* CLOCK_REALTIME of arrival, 0 if unknown */
	int32_t err;
	uint32_t pad;
};
_Static_assert(sizeof(struct mls_dgram) == 64, "mls_dgram");

/* One per accepted connection on a listening fd, with the new fd as SCM_RIGHTS. */
#define MLS_ACCEPT_KERNEL 1 /* the fd is a kernel socket (direct lane): ask the kernel for its names */
struct mls_accept {
	uint32_t magic;
	uint16_t peer_len;
	uint16_t flags;
	uint8_t peer[28]; /* sockaddr_in / sockaddr_in6 in the listener's family */
	uint8_t local[28];
};
_Static_assert(sizeof(struct mls_accept) == 64, "mls_accept");

/* MLS_RESOLVE answer. */
struct mls_ai {
	int32_t socktype;
	int32_t protocol;
	uint32_t addr_len;
	uint8_t addr[28];
};
_Static_assert(sizeof(struct mls_ai) == 40, "mls_ai");

/* MLS_IFADDRS answer. */
struct mls_ifaddr {
	char name[16];
	uint32_t flags; /* IFF_* */
	uint32_t ifindex;
	uint32_t mtu;
	uint32_t family;  /* AF_INET, AF_INET6, or AF_PACKET for the link's own entry */
	uint8_t addr[28]; /* sockaddr */
	uint8_t netmask[28];
	uint32_t pad[2];
};
_Static_assert(sizeof(struct mls_ifaddr) == 96, "mls_ifaddr");

/* One stored option, replayed onto the kernel socket when a socket changes to the direct lane. */
struct mls_opt {
	int32_t level;
	int32_t name;
	uint32_t len;
	uint8_t value[20];
};
_Static_assert(sizeof(struct mls_opt) == 32, "mls_opt");

#endif
