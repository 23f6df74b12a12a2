/* What this kernel has, for `mlshim doctor` and the choice of the backend: features are tried, versions are not compared. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "loader.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

/* log: what the verifier said of a program that it refuses. */
static void report_with(const char *name, bool is_present, bool is_needed, const char *detail, const char *log)
{
	json_open(NULL, '{');
	json_text("name", name);
	json_bool("present", is_present);
	json_bool("needed", is_needed);
	json_text("detail", detail);
	json_text("log", log);
	json_close('}');
}

static void report(const char *name, bool is_present, bool is_needed, const char *detail)
{
	report_with(name, is_present, is_needed, detail, "");
}

static bool is_cgroup2(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned int)fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* A program that allows everything, loaded and attached for a moment. */
static int try_attach(const char *cgroup_path)
{
	const struct bpf_insn code[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_CGROUP_INET4_GETPEERNAME);
	int program = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "mls_probe", "MIT", code, 2, &options);
	int cgroup = open(cgroup_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int link =
	    program < 0 || cgroup < 0 ? -1 : bpf_link_create(program, cgroup, BPF_CGROUP_INET4_GETPEERNAME, NULL);
	int error = link < 0 ? errno : 0;

	if (link >= 0)
		close(link);
	if (cgroup >= 0)
		close(cgroup);
	if (program >= 0)
		close(program);
	return error;
}

static bool has_filesystem(const char *name)
{
	FILE *list = fopen("/proc/filesystems", "r");
	char line[128];
	bool found = false;

	if (list == NULL)
		return false;
	while (fgets(line, sizeof(line), list) != NULL) {
		char *last = strrchr(line, '\t');

		line[strcspn(line, "\n")] = 0;
		found |= last != NULL && strcmp(last + 1, name) == 0;
	}
	fclose(list);
	return found;
}

/* The last line of what the kernel said is its reason. */
static const char *reason(int error)
{
	static char text[256];
	const char *log = said(), *at = strstr(log, "processed ");

	snprintf(text, sizeof(text), "%s", strerror(error));
	while (at != NULL && at > log + 1) {
		const char *start = at - 1;

		while (start > log && start[-1] != '\n')
			start--;
		if (at - 1 - start > 3) {
			snprintf(text, sizeof(text), "%.*s", (int)(at - 1 - start), start);
			break;
		}
		at = start;
	}
	return text;
}

static bool try_program(const char *objects, const char *file, const char *program)
{
	char path[PATH_ROOM];

	path_of(&path, "%s/%s", objects, file);
	forget_said();
	struct bpf_object *object = load_object(path, NULL, program);

	if (object != NULL)
		bpf_object__close(object);
	return object != NULL;
}

static bool is_only_in_full(const char *program)
{
	return strncmp(program, "mls_bind", 8) == 0;
}

static void probe_programs(const char *objects)
{
	bool is_full = true;

	for (size_t i = 0; i < HOOK_COUNT && is_full; i++)
		is_full = try_program(objects, "policy.bpf.o", HOOKS[i].program);
	report("full-programs", is_full, false, is_full ? "" : reason(errno));
	for (size_t i = 0; i < HOOK_COUNT; i++) {
		const char *program = HOOKS[i].program;
		bool is_there =
		    is_full || (!is_only_in_full(program) && try_program(objects, "policy-old.bpf.o", program));

		char name[64];

		snprintf(name, sizeof(name), "program-%s", program + strlen("mls_"));
		for (char *c = strchr(name, '_'); c != NULL; c = strchr(c, '_'))
			*c = '-';
		bool is_needed = !is_only_in_full(program);

		if (is_there)
			report(name, true, is_needed, "");
		else
			report_with(name, false, is_needed, reason(errno), is_needed ? said() : "");
	}
}

/* probe OBJECTS CGROUP */
int command_probe(int argc, char **argv)
{
	unsigned long long cookie;
	socklen_t length = sizeof(cookie);
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool has_cookie = s >= 0 && getsockopt(s, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) == 0;

	(void)argc;
	if (s >= 0)
		close(s);
	json_open("features", '[');
	bool is_v2 = is_cgroup2(argv[1]);

	report("cgroup-v2", is_v2, true, is_v2 ? argv[1] : "no cgroup2 file system is mounted there");
	int error = try_attach(argv[1]);

	report("cgroup-programs", error == 0, true, error == 0 ? "" : strerror(error));
	bool has_bpffs = has_filesystem("bpf");

	report("bpffs", has_bpffs, true,
	       !has_bpffs		 ? "this kernel has no bpf file system"
	       : is_bpffs("/sys/fs/bpf") ? "/sys/fs/bpf"
					 : "not mounted yet");
	probe_programs(argv[0]);
	bool has_retval = can_set_retval();

	report("refusal-errno", has_retval, false, has_retval ? "" : "a refusal is always EPERM");
	report("netns-cookie", has_cookie, false, has_cookie ? "" : "learned from a socket of the daemon");
	json_close(']');
	return 0;
}
