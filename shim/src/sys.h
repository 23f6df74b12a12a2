/* SPDX-License-Identifier: MIT */
/*
 * sys.h - raw system calls
 *
 * Every interposer talks to the kernel through these: no libc function is called, so no lookup, lock or recursion can
 * happen. Results are the kernel's: >= 0 or -errno. They are no cancellation points (README.md).
 */
#ifndef MLSHIM_SYS_H
#define MLSHIM_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#else
#error "mlshim: only x86_64 and aarch64 are supported"
#endif

#define SYS_N(n, a, b, c, d, e, f, ...) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* sys(read, fd, buf, n): the call by name with as many arguments as it takes. */
#define sys(name, ...)			SYS_N(__NR_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

/* Turns a kernel result into a libc one; errno is touched only on failure. */
long sys_result(long ret);

void *mls_copy(void *dst, const void *src, size_t n);
void *mls_zero(void *dst, size_t n);
size_t mls_len(const char *s);
int mls_same(const void *a, const void *b, size_t n);

/* Would the kernel's copy_from_user()/copy_to_user() of n octets succeed? One or two cheap calls, no side effect but
 * that `mem_writable` may change the octets it is asked about. */
int mem_readable(const void *p, size_t n);
int mem_writable(void *p, size_t n);

/* The same question without a call, for the paths of every packet: only obviously wrong pointers are found. */
static inline int mem_wild(const void *p)
{
	return (uintptr_t)p < 4096 || (uintptr_t)p > (uintptr_t)0x00fffffffffff000;
}

#endif
