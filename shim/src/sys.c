/* SPDX-License-Identifier: MIT */
/*
 * sys.c - results, memory, and the question "would the kernel have said EFAULT?"
 *
 * Defines mem* for the compiler's own use, hidden by mlshim.map: the .so needs nothing of the libc but errno's address.
 */
#include "shim.h"

#include <errno.h>

extern int *__errno_location(void);

long sys_result(long ret)
{
	if ((unsigned long)ret > -4096UL) {
		*__errno_location() = (int)-ret;
		return -1;
	}
	return ret;
}

/* The compiler may turn any loop or assignment into calls of these. */
void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	while (n--)
		*d++ = *s++;
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	unsigned char *d = dst;
	const unsigned char *s = src;

	if (d < s)
		return memcpy(dst, src, n);
	while (n--)
		d[n] = s[n];
	return dst;
}

void *memset(void *dst, int c, size_t n)
{
	unsigned char *d = dst;

	while (n--)
		*d++ = (unsigned char)c;
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

void *mls_copy(void *dst, const void *src, size_t n)
{
	return memcpy(dst, src, n);
}

void *mls_zero(void *dst, size_t n)
{
	return memset(dst, 0, n);
}

size_t mls_len(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

int mls_same(const void *a, const void *b, size_t n)
{
	return memcmp(a, b, n) == 0;
}

/* sigprocmask() copies the set before it looks at `how`: EFAULT means unreadable, EINVAL readable, and nothing changes. */
static int word_readable(uintptr_t p)
{
	return sys(rt_sigprocmask, -1, p & ~7UL, 0, 8) != -EFAULT;
}

int mem_readable(const void *p, size_t n)
{
	uintptr_t first = (uintptr_t)p, last = first + n - 1;

	if (n == 0)
		return 1;
	if (mem_wild(p) || !word_readable(first))
		return 0;
	return (first >> 12) == (last >> 12) || word_readable(last);
}

/* sigprocmask() without a new set only stores the old one: eight octets the caller is about to overwrite anyway. */
static int octets_writable(uintptr_t p)
{
	return sys(rt_sigprocmask, 0, 0, p, 8) != -EFAULT;
}

int mem_writable(void *p, size_t n)
{
	uintptr_t first = (uintptr_t)p;

	if (n < 8)
		return n == 0 || mem_readable(p, n);
	if (mem_wild(p) || !octets_writable(first))
		return 0;
	return n <= 4096 - (first & 4095) || octets_writable(first + n - 8);
}
