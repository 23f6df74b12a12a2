/*
 * mlshim-bpf: puts the programs of policy into the kernel, replaces them without a gap, and takes them out again. Started by
 * the daemon (router/kernel/loader.ts) and left: nothing stays in memory but what is pinned.
 *
 *   load OBJECTS PIN          maps and programs, pinned below PIN; maps that are there already are kept
 *   attach PIN CGROUP         links of the programs loaded last; links that are there already get the new code
 *   remove PIN                links, programs, maps, and the mount where `load` had to make one
 *   status PIN                programs with their run-time statistics, maps
 *   probe OBJECTS CGROUP      what this kernel has
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader.h"

#define SAID_ROOM 65536

static char heard[2 * SAID_ROOM];
static size_t heard_length;

const struct hook HOOKS[] = {
    {"mls_connect4", BPF_CGROUP_INET4_CONNECT},
    {"mls_connect6", BPF_CGROUP_INET6_CONNECT},
    {"mls_sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
    {"mls_sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
    {"mls_recvmsg4", BPF_CGROUP_UDP4_RECVMSG},
    {"mls_recvmsg6", BPF_CGROUP_UDP6_RECVMSG},
    {"mls_getpeername4", BPF_CGROUP_INET4_GETPEERNAME},
    {"mls_getpeername6", BPF_CGROUP_INET6_GETPEERNAME},
    {"mls_bind4", BPF_CGROUP_INET4_BIND},
    {"mls_bind6", BPF_CGROUP_INET6_BIND},
    {"mls_sock_create", BPF_CGROUP_INET_SOCK_CREATE},
};
const size_t HOOK_COUNT = sizeof(HOOKS) / sizeof(HOOKS[0]);

static int listen_to(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_DEBUG)
		return 0;
	if (heard_length > SAID_ROOM) {
		memmove(heard, heard + heard_length - SAID_ROOM / 2, SAID_ROOM / 2);
		heard_length = SAID_ROOM / 2;
	}
	int n = vsnprintf(heard + heard_length, sizeof(heard) - heard_length, format, args);

	if (n > 0) {
		size_t left = sizeof(heard) - 1 - heard_length;

		heard_length += (size_t)n < left ? (size_t)n : left;
	}
	return n;
}

const char *said(void)
{
	heard[heard_length] = 0;
	return heard_length > SAID_ROOM ? heard + heard_length - SAID_ROOM : heard;
}

void forget_said(void)
{
	heard_length = 0;
}

int fail(const char *what, const char *detail)
{
	int error = errno;

	json_text("error", what);
	json_text("detail", detail);
	json_number("errno", (unsigned long long)error);
	json_text("reason", strerror(error));
	json_text("log", said());
	return 1;
}

void path_of(char (*path)[PATH_ROOM], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(*path, sizeof(*path), format, args);
	va_end(args);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int arguments;
		int (*run)(int argc, char **argv);
	} COMMANDS[] = {
	    {"load", 2, command_load},	   {"attach", 2, command_attach}, {"remove", 1, command_remove},
	    {"status", 1, command_status}, {"probe", 2, command_probe},
	};

	libbpf_set_print(listen_to);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	for (int i = 1; i < argc; i++) {
		if (strlen(argv[i]) >= ARGUMENT_ROOM) {
			fprintf(stderr, "mlshim-bpf: an argument is too long\n");
			return 2;
		}
	}
	for (size_t i = 0; argc > 1 && i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
		if (strcmp(argv[1], COMMANDS[i].name) != 0 || argc - 2 != COMMANDS[i].arguments)
			continue;
		json_open(NULL, '{');
		int status = COMMANDS[i].run(argc - 2, argv + 2);

		json_close('}');
		putchar('\n');
		return status;
	}
	fprintf(stderr, "usage: mlshim-bpf load OBJECTS PIN | attach PIN CGROUP | remove PIN | status PIN | "
			"probe OBJECTS CGROUP\n");
	return 2;
}
