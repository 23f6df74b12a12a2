/*
 * The pin directory: PIN/vN holds maps, programs not yet attached (prog_*) and links (link_*) of one layout of the maps, N.
 * A new layout gets a directory of its own; its links are those of the old one with other code, so nothing is ever unattached.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "../bpf/policy.h"
#include "loader.h"

#define MOUNT_NAME "mlshim"
#define WAIT_NS	   2000000 /* between looks whether the kernel has let go */
#define WAITS	   1000
#define MAX_IDS	   256

bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned int)fs.f_type == BPF_FS_MAGIC;
}

static int make_folders(const char *path)
{
	char part[PATH_ROOM];

	for (const char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		size_t length = slash == NULL ? strlen(path) : (size_t)(slash - path);

		if (length >= sizeof(part)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(part, path, length);
		part[length] = 0;
		if (mkdir(part, 0700) != 0 && errno != EEXIST)
			return -1;
		if (slash == NULL)
			return 0;
	}
}

int enter_pins(const char *pin, char (*dir)[PATH_ROOM])
{
	if (make_folders(pin) != 0)
		return -1;
	if (!is_bpffs(pin) && mount(MOUNT_NAME, pin, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0)
		return -1;
	path_of(dir, "%s/v%d", pin, MLS_SCHEMA);
	return mkdir(*dir, 0700) != 0 && errno != EEXIST ? -1 : 0;
}

/* Call `each` with every entry of a folder but "." and ".."; stops at the first that is not 0. */
static int for_each_entry(const char *folder, int (*each)(const char *path, const char *name, void *data), void *data)
{
	DIR *d = opendir(folder);
	int status = 0;

	if (d == NULL)
		return errno == ENOENT ? 0 : -1;
	for (struct dirent *e = readdir(d); e != NULL && status == 0; e = readdir(d)) {
		char path[PATH_ROOM];

		if (e->d_name[0] == '.')
			continue;
		path_of(&path, "%s/%s", folder, e->d_name);
		status = each(path, e->d_name, data);
	}
	closedir(d);
	return status;
}

/* ---- attach */

struct search {
	const char *own; /* the directory of this layout */
	const char *link;
	char found[PATH_ROOM];
};

static int look_in(const char *path, const char *name, void *data)
{
	struct search *s = data;
	char link[PATH_ROOM];

	if (name[0] != 'v' || strcmp(path, s->own) == 0)
		return 0;
	path_of(&link, "%s/%s", path, s->link);
	if (access(link, F_OK) == 0)
		path_of(&s->found, "%s", link);
	return 0;
}

static int remove_pin(const char *path, const char *name, void *data)
{
	(void)name;
	(void)data;
	return unlink(path);
}

static int remove_other_layout(const char *path, const char *name, void *data)
{
	if (name[0] != 'v' || strcmp(path, data) == 0)
		return 0;
	return for_each_entry(path, remove_pin, NULL) != 0 || rmdir(path) != 0 ? -1 : 0;
}

/* Give an existing link the new code. A link whose cgroup is gone is as good as none. */
static bool renew_link(const char *path, int program)
{
	int link = bpf_obj_get(path);

	if (link < 0)
		return false;
	bool is_done = bpf_link_update(link, program, NULL) == 0;

	close(link);
	if (!is_done)
		unlink(path);
	return is_done;
}

static int attach_hook(const struct hook *hook, const char *pin, const char *dir, int cgroup)
{
	char program_path[PATH_ROOM], link_path[PATH_ROOM], link_name[64];
	struct search s = {.own = dir, .link = link_name};

	snprintf(link_name, sizeof(link_name), "link_%s", hook->program);
	path_of(&program_path, "%s/prog_%s", dir, hook->program);
	path_of(&link_path, "%s/%s", dir, link_name);
	int program = bpf_obj_get(program_path);

	if (program < 0)
		return errno == ENOENT ? 0 : -1; /* attached already, or not in this object */
	if (for_each_entry(pin, look_in, &s) == 0 && s.found[0] != 0 && rename(s.found, link_path) != 0) {
		close(program);
		return -1;
	}
	if (!renew_link(link_path, program)) {
		int link = bpf_link_create(program, cgroup, hook->attach, NULL);

		if (link < 0 || bpf_obj_pin(link, link_path) != 0) {
			close(program);
			return -1;
		}
		close(link);
	}
	close(program);
	return unlink(program_path);
}

/* attach PIN CGROUP */
int command_attach(int argc, char **argv)
{
	char dir[PATH_ROOM];
	int cgroup = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)argc;
	if (cgroup < 0)
		return fail("the cgroup cannot be opened", argv[1]);
	path_of(&dir, "%s/v%d", argv[0], MLS_SCHEMA);
	for (size_t i = 0; i < HOOK_COUNT; i++)
		if (attach_hook(&HOOKS[i], argv[0], dir, cgroup) != 0)
			return fail("a program cannot be attached", HOOKS[i].program);
	close(cgroup);
	if (for_each_entry(argv[0], remove_other_layout, dir) != 0)
		return fail("an older layout cannot be removed", argv[0]);
	json_number("hooks", HOOK_COUNT);
	return 0;
}

/* ---- remove */

struct ids {
	struct {
		bool is_map;
		unsigned int id;
	} list[MAX_IDS];
	size_t count;
	int links, maps;
};

static void note_id(struct ids *ids, bool is_map, unsigned int id)
{
	if (id == 0 || ids->count == MAX_IDS)
		return;
	ids->list[ids->count].is_map = is_map;
	ids->list[ids->count++].id = id;
}

static int note_and_remove(const char *path, const char *name, void *data)
{
	struct ids *ids = data;
	int fd = bpf_obj_get(path);

	if (fd >= 0 && strncmp(name, "link_", 5) == 0) {
		struct bpf_link_info info = {0};
		unsigned int length = sizeof(info);

		if (bpf_obj_get_info_by_fd(fd, &info, &length) == 0)
			note_id(ids, false, info.prog_id);
		/* Others may hold the link too: what is detached here is detached for them. */
		bpf_link_detach(fd);
		ids->links++;
	} else if (fd >= 0 && strncmp(name, "prog_", 5) != 0) {
		struct bpf_map_info info = {0};
		unsigned int length = sizeof(info);

		if (bpf_obj_get_info_by_fd(fd, &info, &length) == 0)
			note_id(ids, true, info.id);
		ids->maps++;
	}
	if (fd >= 0)
		close(fd);
	return unlink(path);
}

static int remove_layout(const char *path, const char *name, void *data)
{
	if (name[0] != 'v')
		return 0;
	return for_each_entry(path, note_and_remove, data) != 0 || rmdir(path) != 0 ? -1 : 0;
}

static bool is_gone(bool is_map, unsigned int id)
{
	int fd = is_map ? bpf_map_get_fd_by_id(id) : bpf_prog_get_fd_by_id(id);

	if (fd >= 0)
		close(fd);
	return fd < 0;
}

/* The kernel frees programs and maps a moment after their last reference. Returns how many are left after two seconds. */
static size_t wait_for_kernel(const struct ids *ids)
{
	size_t left = 0;

	for (size_t i = 0; i < ids->count; i++) {
		int waits = 0;

		while (!is_gone(ids->list[i].is_map, ids->list[i].id) && waits++ < WAITS)
			nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
		left += waits > WAITS;
	}
	return left;
}

/* A bpffs mounted at the very folder is ours: `load` mounts none where there is one already. 5.10 forgets the name it was given. */
static bool is_own_mount(const char *pin)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	bool found = false;

	if (mounts == NULL)
		return false;
	for (struct mntent *m = getmntent(mounts); m != NULL; m = getmntent(mounts))
		if (strcmp(m->mnt_dir, pin) == 0)
			found = strcmp(m->mnt_type, "bpf") == 0;
	endmntent(mounts);
	return found;
}

/* remove PIN */
int command_remove(int argc, char **argv)
{
	struct ids ids = {0};

	(void)argc;
	if (!is_bpffs(argv[0])) {
		json_number("links", 0);
		json_number("maps", 0);
		json_number("left", 0);
		return rmdir(argv[0]) != 0 && errno != ENOENT ? fail("the folder of pins is in use", argv[0]) : 0;
	}
	if (for_each_entry(argv[0], remove_layout, &ids) != 0)
		return fail("a pin cannot be removed", argv[0]);
	if (is_own_mount(argv[0]) && umount(argv[0]) != 0)
		return fail("the mount of pins cannot be removed", argv[0]);
	if (rmdir(argv[0]) != 0)
		return fail("the folder of pins cannot be removed", argv[0]);
	json_number("links", (unsigned long long)ids.links);
	json_number("maps", (unsigned long long)ids.maps);
	json_number("left", wait_for_kernel(&ids));
	return 0;
}

/* ---- status */

static int print_link(const char *path, const char *name, void *data)
{
	struct bpf_link_info link = {0};
	struct bpf_prog_info program = {0};
	unsigned int length = sizeof(link), program_length = sizeof(program);
	int fd = strncmp(name, "link_", 5) == 0 ? bpf_obj_get(path) : -1;

	(void)data;
	if (fd < 0)
		return 0;
	int program_fd = bpf_obj_get_info_by_fd(fd, &link, &length) == 0 ? bpf_prog_get_fd_by_id(link.prog_id) : -1;

	close(fd);
	if (program_fd < 0)
		return 0;
	if (bpf_obj_get_info_by_fd(program_fd, &program, &program_length) == 0) {
		json_open(NULL, '{');
		json_text("program", name + 5);
		json_number("cgroup", link.cgroup.cgroup_id);
		json_number("runs", program.run_cnt);
		json_number("run_ns", program.run_time_ns);
		json_close('}');
	}
	close(program_fd);
	return 0;
}

/* status PIN */
int command_status(int argc, char **argv)
{
	char dir[PATH_ROOM];

	(void)argc;
	path_of(&dir, "%s/v%d", argv[0], MLS_SCHEMA);
	json_number("schema", MLS_SCHEMA);
	json_open("hooks", '[');
	int status = for_each_entry(dir, print_link, NULL);

	json_close(']');
	return status == 0 ? 0 : fail("the pins cannot be read", dir);
}
