/* Objects into the kernel: `load` and what probing shares with it. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loader.h"

/* Whether a program may call bpf_set_retval at a hook. */
static bool loads_set_retval(enum bpf_prog_type type, enum bpf_attach_type attach)
{
	const struct bpf_insn code[] = {
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .imm = -EACCES},
	    {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_set_retval},
	    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = attach);
	int fd = bpf_prog_load(type, "mls_retval", "MIT", code, sizeof(code) / sizeof(code[0]), &options);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

bool can_set_retval(void)
{
	return loads_set_retval(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT) &&
	       loads_set_retval(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG) &&
	       loads_set_retval(BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE);
}

/* The programs' only constant: can_set_retval. */
static int set_constants(struct bpf_object *object)
{
	unsigned int value = can_set_retval();
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		size_t size = 0;

		if (strstr(bpf_map__name(map), ".rodata") == NULL)
			continue;
		if (bpf_map__initial_value(map, &size) == NULL || size != sizeof(value)) {
			errno = EINVAL;
			return -1;
		}
		return bpf_map__set_initial_value(map, &value, size);
	}
	errno = ENOENT;
	return -1;
}

static int pin_maps_below(struct bpf_object *object, const char *dir)
{
	struct bpf_map *map;
	char path[PATH_ROOM];

	bpf_object__for_each_map(map, object)
	{
		if (strncmp(bpf_map__name(map), "mls_", 4) != 0)
			continue;
		path_of(&path, "%s/%s", dir, bpf_map__name(map));
		if (bpf_map__set_pin_path(map, path) != 0)
			return -1;
	}
	return 0;
}

struct bpf_object *load_object(const char *path, const char *dir, const char *only)
{
	struct bpf_object *object = bpf_object__open(path);
	struct bpf_program *program;

	if (object == NULL)
		return NULL;
	if (only != NULL)
		bpf_object__for_each_program(program, object)
		    bpf_program__set_autoload(program, strcmp(bpf_program__name(program), only) == 0);
	if (set_constants(object) == 0 && (dir == NULL || pin_maps_below(object, dir) == 0) &&
	    bpf_object__load(object) == 0)
		return object;
	int error = errno;

	bpf_object__close(object);
	errno = error;
	return NULL;
}

static int pin_programs(struct bpf_object *object, const char *dir)
{
	struct bpf_program *program;
	char path[PATH_ROOM];

	bpf_object__for_each_program(program, object)
	{
		path_of(&path, "%s/prog_%s", dir, bpf_program__name(program));
		if (unlink(path) != 0 && errno != ENOENT)
			return fail("a program cannot be pinned", path);
		if (bpf_program__pin(program, path) != 0)
			return fail("a program cannot be pinned", path);
	}
	return 0;
}

/* load OBJECTS PIN */
int command_load(int argc, char **argv)
{
	static const char *const VARIANTS[] = {"policy.bpf.o", "policy-old.bpf.o"};
	char dir[PATH_ROOM], path[PATH_ROOM];
	struct bpf_object *object = NULL;
	size_t variant = 0;

	(void)argc;
	if (enter_pins(argv[1], &dir) != 0)
		return fail("there is no place for pins", argv[1]);
	for (; variant < 2 && object == NULL; variant++) {
		path_of(&path, "%s/%s", argv[0], VARIANTS[variant]);
		object = load_object(path, dir, NULL);
	}
	if (object == NULL)
		return fail("the kernel refuses the programs", path);
	json_text("dir", dir);
	json_text("variant", variant == 1 ? "full" : "old");
	json_bool("set_retval", can_set_retval());
	json_text("log", said());
	int status = pin_programs(object, dir);

	bpf_object__close(object);
	return status;
}
