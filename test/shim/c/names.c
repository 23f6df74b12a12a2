/* SPDX-License-Identifier: MIT */
/* names.c - getaddrinfo() and relatives on what needs no server, and the interfaces */
#include "t.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>

static void forward(void)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *r = NULL, *p;
	int four = 0, six = 0;

	ok(getaddrinfo("127.0.0.1", "80", &hints, &r) == 0 && r && r->ai_family == AF_INET &&
	       r->ai_socktype == SOCK_STREAM && ((struct sockaddr_in *)r->ai_addr)->sin_port == htons(80) &&
	       r->ai_next == NULL,
	   "an IPv4 literal with a port");
	freeaddrinfo(r);
	r = NULL;
	ok(getaddrinfo("::1", NULL, &hints, &r) == 0 && r && r->ai_family == AF_INET6 &&
	       r->ai_addrlen == sizeof(struct sockaddr_in6),
	   "an IPv6 literal");
	freeaddrinfo(r);
	hints.ai_flags = AI_PASSIVE;
	ok(getaddrinfo(NULL, "http", &hints, &r) == 0, "a service by name, passive");
	for (p = r; p; p = p->ai_next) {
		four |= p->ai_family == AF_INET && ((struct sockaddr_in *)p->ai_addr)->sin_addr.s_addr == 0 &&
			((struct sockaddr_in *)p->ai_addr)->sin_port == htons(80);
		six |= p->ai_family == AF_INET6 &&
		       IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)p->ai_addr)->sin6_addr);
	}
	ok(four && six, "gives the wildcard address of both families");
	freeaddrinfo(r);
	hints.ai_flags = AI_NUMERICHOST;
	ok(getaddrinfo("example.org", NULL, &hints, &r) == EAI_NONAME, "AI_NUMERICHOST refuses a name");
	hints.ai_flags = 0;
	ok(getaddrinfo(NULL, NULL, &hints, &r) == EAI_NONAME, "nothing asked is EAI_NONAME");
	ok(getaddrinfo("localhost", "8080", &hints, &r) == 0, "localhost");
	freeaddrinfo(r);
	ok(getaddrinfo("127.0.0.1", "7", NULL, &r) == 0 && r && r->ai_next, "without hints each socket type is listed");
	freeaddrinfo(r);
}

static void backward(void)
{
	union addr a;
	socklen_t n = loopback(&a, AF_INET, 4711);
	char host[64], service[32];

	ok(getnameinfo(&a.sa, n, host, 64, service, 32, NI_NUMERICHOST | NI_NUMERICSERV) == 0 &&
	       !strcmp(host, "127.0.0.1") && !strcmp(service, "4711"),
	   "getnameinfo() in numbers");
	n = loopback(&a, AF_INET6, 1);
	ok(getnameinfo(&a.sa, n, host, 64, NULL, 0, NI_NUMERICHOST) == 0 && !strcmp(host, "::1"), "also IPv6");
	ok(getnameinfo(&a.sa, n, host, 2, NULL, 0, NI_NUMERICHOST) == EAI_OVERFLOW, "a short buffer is EAI_OVERFLOW");
	a.sa.sa_family = 77;
	ok(getnameinfo(&a.sa, n, host, 64, NULL, 0, 0) == EAI_FAMILY, "an unknown family is EAI_FAMILY");
}

static void old_style(void)
{
	struct hostent *h = gethostbyname("127.0.0.1"), r, *res = NULL;
	char buf[512];
	int e;

	ok(h && h->h_addrtype == AF_INET && h->h_length == 4 && !memcmp(h->h_addr_list[0], "\x7f\0\0\1", 4) &&
	       !h->h_addr_list[1],
	   "gethostbyname() of a literal");
	ok(gethostbyname_r("127.0.0.1", &r, buf, sizeof(buf), &res, &e) == 0 && res == &r, "gethostbyname_r()");
	ok(gethostbyname_r("127.0.0.1", &r, buf, 4, &res, &e) == ERANGE, "which says ERANGE for a short buffer");
}

static void interfaces(void)
{
	struct ifaddrs *all = NULL;
	struct if_nameindex *list;
	unsigned int lo = if_nametoindex("lo");
	int four = 0, link = 0, found = 0;
	char name[IF_NAMESIZE];

	ok(getifaddrs(&all) == 0, "getifaddrs()");
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		four |= !strcmp(i->ifa_name, "lo") && i->ifa_addr && i->ifa_addr->sa_family == AF_INET &&
			(i->ifa_flags & IFF_UP);
		link |= i->ifa_addr && i->ifa_addr->sa_family == AF_PACKET;
	}
	ok(four && link, "has the loopback's address and the links themselves");
	freeifaddrs(all);
	ok(lo > 0 && if_indextoname(lo, name) == name && !strcmp(name, "lo"), "names and numbers agree");
	ok(if_nametoindex("nothere0") == 0 && errno == ENODEV, "an unknown name is ENODEV");
	list = if_nameindex();
	for (struct if_nameindex *i = list; i && i->if_index; i++)
		found |= i->if_index == lo && !strcmp(i->if_name, "lo");
	ok(found, "if_nameindex() lists it");
	if_freenameindex(list);
}

int main(void)
{
	forward();
	backward();
	old_style();
	interfaces();
	done();
}
