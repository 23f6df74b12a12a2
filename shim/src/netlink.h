/* SPDX-License-Identifier: MIT */
/*
 * netlink.h - what netlink.c and netview.c need of the kernel's headers, by value: a libc without them builds the shim too
 */
#ifndef MLSHIM_NETLINK_H
#define MLSHIM_NETLINK_H

#include <stdint.h>

#define NETLINK_ROUTE  0
#define NLMSG_NOOP     1
#define NLMSG_DONE     3
#define NLM_F_REQUEST  1
#define RTM_NEWLINK    16
#define RTM_NEWADDR    20
#define RTM_NEWROUTE   24
#define RTM_NEWNEIGH   28
#define RTM_NEWRULE    32
#define RTM_NEWNEXTHOP 104

#define NLM_F_MULTI 2

/* Lies wherever an application's buffer begins. */
struct __attribute__((packed)) nlmsghdr {
	uint32_t len;
	uint16_t type, flags;
	uint32_t seq, pid;
};

struct sockaddr_nl {
	uint16_t family, pad;
	uint32_t pid, groups;
};

#endif
