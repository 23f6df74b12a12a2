/* SPDX-License-Identifier: MIT */
/*
 * spawn.c - posix_spawn() with the preload kept in a scrubbed environment
 *
 * The libc's own does the work (its attributes and file actions are private to it); it is called with an environment
 * that has what proc.c would put back. Where it cannot be found (a program without DT_DEBUG) the answer is ENOSYS.
 */
#include "shim.h"

#include <errno.h>
#include <spawn.h>

typedef int spawn_call(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
		       char *const[], char *const[]);
typedef int pidfd_call(int *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
		       char *const[], char *const[]);

/* Runs `call` with the environment repaired in `fixed`. */
#define WITH_PATCH(type, name, first)                                                                                  \
	do {                                                                                                           \
		type *real = (type *)next_function(name);                                                              \
		struct patch p;                                                                                        \
		size_t n = patch_count(envp);                                                                          \
		char *fixed[n + PATCH_MOST + 1];                                                                       \
		if (real == NULL)                                                                                      \
			return ENOSYS;                                                                                 \
		patch_plan(&p, envp);                                                                                  \
		if (p.count == 0)                                                                                      \
			return real(first, path, actions, attr, argv, envp);                                           \
		patch_apply(&p, envp, n, fixed);                                                                       \
		return real(first, path, actions, attr, argv, fixed);                                                  \
	} while (0)

EXPORT int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *restrict attr, char *const argv[restrict], char *const envp[restrict])
{
	WITH_PATCH(spawn_call, "posix_spawn", pid);
}

EXPORT int posix_spawnp(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *restrict attr, char *const argv[restrict], char *const envp[restrict])
{
	WITH_PATCH(spawn_call, "posix_spawnp", pid);
}

/* glibc 2.39 and later */
EXPORT int pidfd_spawn(int *pidfd, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	WITH_PATCH(pidfd_call, "pidfd_spawn", pidfd);
}

EXPORT int pidfd_spawnp(int *pidfd, const char *path, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	WITH_PATCH(pidfd_call, "pidfd_spawnp", pidfd);
}
