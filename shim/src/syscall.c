/* SPDX-License-Identifier: MIT */
/*
 * syscall.c - syscall(2): the calls of this library by number
 *
 * libuv, Go's cgo parts and others call the kernel through syscall(). Numbers of hooked calls are sent to the hooks, all
 * others go to the kernel exactly as the libc would do it: without touching the stack, because clone() and vfork() return
 * in a child whose stack is another one, or the parent's.
 */
#include "shim.h"

#include <errno.h>

#if defined(__x86_64__)
__asm__(".text\n"
	".globl syscall\n"
	".type syscall, @function\n"
	"syscall:\n"
	"	cmpq $512, %rdi\n"
	"	jae 1f\n"
	"	leaq mls_hooked_calls(%rip), %r11\n"
	"	btq %rdi, (%r11)\n"
	"	jc mls_syscall\n"
	"1:	movq %rdi, %rax\n"
	"	movq %rsi, %rdi\n"
	"	movq %rdx, %rsi\n"
	"	movq %rcx, %rdx\n"
	"	movq %r8, %r10\n"
	"	movq %r9, %r8\n"
	"	movq 8(%rsp), %r9\n"
	"	syscall\n"
	"	cmpq $-4095, %rax\n"
	"	jae 2f\n"
	"	ret\n"
	"2:	movq %rax, %rdi\n"
	"	jmp mls_syscall_failed\n"
	".size syscall, .-syscall\n");
#elif defined(__aarch64__)
__asm__(".text\n"
	".globl syscall\n"
	".type syscall, %function\n"
	"syscall:\n"
	"	cmp x0, #512\n"
	"	b.hs 1f\n"
	"	adrp x9, mls_hooked_calls\n"
	"	add x9, x9, :lo12:mls_hooked_calls\n"
	"	lsr x10, x0, #6\n"
	"	ldr x10, [x9, x10, lsl #3]\n"
	"	lsr x10, x10, x0\n"
	"	tbz x10, #0, 1f\n"
	"	b mls_syscall\n"
	"1:	mov x8, x0\n"
	"	mov x0, x1\n"
	"	mov x1, x2\n"
	"	mov x2, x3\n"
	"	mov x3, x4\n"
	"	mov x4, x5\n"
	"	mov x5, x6\n"
	"	svc #0\n"
	"	cmn x0, #4095\n"
	"	b.cs 2f\n"
	"	ret\n"
	"2:	b mls_syscall_failed\n"
	".size syscall, .-syscall\n");
#endif

/* clang-format off */
#define HOOKED(X) \
	(X(socket) | X(connect) | X(bind) | X(listen) | X(accept) | X(accept4) | X(getsockname) | X(getpeername) | \
	 X(getsockopt) | X(setsockopt) | X(shutdown) | X(sendto) | X(recvfrom) | X(sendmsg) | X(recvmsg) | \
	 X(sendmmsg) | X(recvmmsg) | X(read) | X(write) | X(readv) | X(writev) | X(ioctl) | X(execve) | X(execveat) | \
	 X(capset))
/* clang-format on */

/* One bit per number that has a hook; constant, so that nothing runs at load. */
#define IN_WORD(name, word) (__NR_##name / 64 == (word) ? 1UL << (__NR_##name % 64) : 0)
#define WORD_0(name)	    IN_WORD(name, 0)
#define WORD_1(name)	    IN_WORD(name, 1)
#define WORD_2(name)	    IN_WORD(name, 2)
#define WORD_3(name)	    IN_WORD(name, 3)
#define WORD_4(name)	    IN_WORD(name, 4)
#define WORD_5(name)	    IN_WORD(name, 5)

extern const uint64_t mls_hooked_calls[8] __attribute__((visibility("hidden")));
const uint64_t mls_hooked_calls[8] = {
    HOOKED(WORD_0), HOOKED(WORD_1), HOOKED(WORD_2), HOOKED(WORD_3), HOOKED(WORD_4), HOOKED(WORD_5),
};

#define FROM_ASM __attribute__((visibility("hidden"), used))

FROM_ASM long mls_syscall_failed(long ret)
{
	return sys_result(ret);
}

FROM_ASM long mls_syscall(long n, long a, long b, long c, long d, long e, long f)
{
	void *p = (void *)b;

	switch (n) {
	case __NR_socket:
		return sys_result(mls_socket((int)a, (int)b, (int)c));
	case __NR_connect:
		return sys_result(mls_connect((int)a, p, (socklen_t)c));
	case __NR_bind:
		return sys_result(mls_bind((int)a, p, (socklen_t)c));
	case __NR_listen:
		return sys_result(mls_listen((int)a, (int)b));
	case __NR_accept:
		return sys_result(mls_accept((int)a, p, (socklen_t *)c, 0));
	case __NR_accept4:
		return sys_result(mls_accept((int)a, p, (socklen_t *)c, (int)d));
	case __NR_getsockname:
		return sys_result(mls_getname((int)a, MLS_GETSOCKNAME, p, (socklen_t *)c));
	case __NR_getpeername:
		return sys_result(mls_getname((int)a, MLS_GETPEERNAME, p, (socklen_t *)c));
	case __NR_getsockopt:
		return sys_result(mls_getsockopt((int)a, (int)b, (int)c, (void *)d, (socklen_t *)e));
	case __NR_setsockopt:
		return sys_result(mls_setsockopt((int)a, (int)b, (int)c, (void *)d, (socklen_t)e));
	case __NR_shutdown:
		return sys_result(mls_shutdown((int)a, (int)b));
	case __NR_sendto:
		return sys_result(mls_send((int)a, p, (size_t)c, (int)d, (void *)e, (socklen_t)f));
	case __NR_recvfrom:
		return sys_result(mls_recv((int)a, p, (size_t)c, (int)d, (void *)e, (socklen_t *)f));
	case __NR_sendmsg:
		return sys_result(mls_sendmsg((int)a, p, (int)c));
	case __NR_recvmsg:
		return sys_result(mls_recvmsg((int)a, p, (int)c));
	case __NR_sendmmsg:
		return sys_result(mls_sendmmsg((int)a, p, (unsigned int)c, (int)d));
	case __NR_recvmmsg:
		return sys_result(mls_recvmmsg((int)a, p, (unsigned int)c, (int)d, (void *)e));
	case __NR_read:
		return sys_result(mls_read((int)a, p, (size_t)c));
	case __NR_write:
		return sys_result(mls_write((int)a, p, (size_t)c));
	case __NR_readv:
		return sys_result(mls_readv((int)a, p, (int)c));
	case __NR_writev:
		return sys_result(mls_writev((int)a, p, (int)c));
	case __NR_ioctl:
		return sys_result(mls_ioctl((int)a, (unsigned int)b, (void *)c));
	case __NR_capset:
		return sys_result(mls_capset((void *)a, p));
	case __NR_execve:
		return sys_result(mls_execve((void *)a, (void *)b, (void *)c));
	case __NR_execveat:
		return sys_result(mls_execveat((int)a, p, (void *)c, (void *)d, (int)e));
	}
	return sys_result(-ENOSYS);
}
