/* SPDX-License-Identifier: MIT */
/*
 * proc.c - exec: the preload stays in a scrubbed environment
 *
 * The exec family puts LD_PRELOAD and MLSHIM_* back where a program starts another with an environment that lacks them;
 * otherwise its sockets would silently be the host's (spawn.c does the same for posix_spawn()). Pointers and strings are
 * copied on the caller's stack only (vfork children share their parent's memory). fork, vfork and clone need nothing.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

extern char **environ __attribute__((weak));

#define NAME_PATH "PATH"

/* What is kept, in this order; an environment that has a variable keeps its own value (LD_PRELOAD: ours is added). */
static const char kept[PATCH_MOST][16] = {"LD_PRELOAD", "MLSHIM_SOCKET", "MLSHIM_FAIL", "MLSHIM_ROUTING"};

static int starts_with(const char *s, const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] != name[i])
			return 0;
	return s[n] == '=';
}

static int find_env(char *const envp[], const char *name)
{
	size_t n = mls_len(name);

	for (int i = 0; envp && envp[i]; i++)
		if (starts_with(envp[i], name, n))
			return i;
	return -1;
}

static int mentions_us(const char *list)
{
	static const char us[] = "libmlshim.so";

	for (; *list; list++) {
		size_t i;

		for (i = 0; us[i] && list[i] == us[i]; i++)
			;
		if (us[i] == 0)
			return 1;
	}
	return 0;
}

/* The entry of an LD_PRELOAD list that is this library. */
static int our_entry(const char *list, char *out, size_t room)
{
	while (*list) {
		size_t n = 0;

		while (*list == ':' || *list == ' ')
			list++;
		while (list[n] && list[n] != ':' && list[n] != ' ')
			n++;
		if (n > 0 && n < room) {
			mls_copy(out, list, n);
			out[n] = 0;
			if (mentions_us(out))
				return (int)n;
		}
		list += n;
	}
	return -1;
}

static void join(char *out, size_t room, const char *a, const char *b, const char *c)
{
	const char *parts[] = {a, b, c};
	size_t at = 0;

	for (int p = 0; p < 3; p++)
		for (const char *s = parts[p]; *s && at + 1 < room; s++)
			out[at++] = *s;
	out[at] = 0;
}

/* What must be changed in envp; count 0 = nothing. */
void patch_plan(struct patch *p, char *const envp[])
{
	char value[PATCH_ROOM - 32], ours[PATCH_ROOM / 2];

	p->count = 0;
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		int at = find_env(envp, kept[i]);
		const char *old = at >= 0 ? envp[at] + mls_len(kept[i]) + 1 : "";

		if (i == 0 ? mentions_us(old) : at >= 0)
			continue;
		if (env_get(kept[i], value, sizeof(value)) < 0)
			continue;
		if (i == 0) {
			if (our_entry(value, ours, sizeof(ours)) < 0)
				continue;
			/* Ours goes first, others that the program asked for stay behind it. */
			join(value, sizeof(value), ours, *old ? ":" : "", old);
		}
		join(p->text[p->count], PATCH_ROOM, kept[i], "=", value);
		p->replace[p->count++] = at;
	}
}

size_t patch_count(char *const envp[])
{
	size_t n = 0;

	while (envp && envp[n])
		n++;
	return n;
}

void patch_apply(const struct patch *p, char *const envp[], size_t n, char **out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = envp[i];
	for (int i = 0; i < p->count; i++) {
		if (p->replace[i] >= 0)
			out[p->replace[i]] = (char *)p->text[i];
		else
			out[n++] = (char *)p->text[i];
	}
	out[n] = NULL;
}

long mls_execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	struct patch p;

	if (envp && !mem_readable(envp, sizeof(*envp)))
		return -EFAULT;
	patch_plan(&p, envp);
	if (p.count == 0)
		return sys(execveat, dir, path, argv, envp, flags);
	size_t n = patch_count(envp);
	char *fixed[n + PATCH_MOST + 1];

	patch_apply(&p, envp, n, fixed);
	return sys(execveat, dir, path, argv, fixed, flags);
}

long mls_execve(const char *path, char *const argv[], char *const envp[])
{
	struct patch p;

	if (envp && !mem_readable(envp, sizeof(*envp)))
		return -EFAULT;
	patch_plan(&p, envp);
	if (p.count == 0)
		return sys(execve, path, argv, envp);
	size_t n = patch_count(envp);
	char *fixed[n + PATCH_MOST + 1];

	patch_apply(&p, envp, n, fixed);
	return sys(execve, path, argv, fixed);
}

/* A text file without "#!" is run by the shell, as POSIX wants of the p variants. */
static long exec_script(const char *path, char *const argv[], char *const envp[])
{
	size_t n = patch_count(argv);
	char *args[n + 2];

	args[0] = (char *)"/bin/sh";
	args[1] = (char *)path;
	for (size_t i = 1; i < n; i++)
		args[1 + i] = argv[i];
	args[n > 0 ? n + 1 : 2] = NULL;
	return mls_execve("/bin/sh", args, envp);
}

static long exec_one(const char *path, char *const argv[], char *const envp[])
{
	long r = mls_execve(path, argv, envp);

	return r == -ENOEXEC ? exec_script(path, argv, envp) : r;
}

static const char *path_of(char *const envp[])
{
	int at = find_env(envp, NAME_PATH);

	return at >= 0 ? envp[at] + sizeof(NAME_PATH) : "/usr/local/bin:/bin:/usr/bin";
}

static long search_exec(const char *file, char *const argv[], char *const envp[])
{
	const char *dir = path_of(&environ ? environ : NULL);
	long r = -ENOENT, worst = -ENOENT;
	size_t file_len = mls_len(file);
	char path[4096 + 256];

	if (file_len == 0)
		return -ENOENT;
	if (file_len > 255)
		return -ENAMETOOLONG;
	for (size_t i = 0; i < file_len; i++)
		if (file[i] == '/')
			return exec_one(file, argv, envp);
	for (;;) {
		size_t n = 0;

		while (dir[n] && dir[n] != ':')
			n++;
		if (n + file_len + 2 <= sizeof(path)) {
			mls_copy(path, dir, n);
			if (n > 0)
				path[n++] = '/';
			mls_copy(path + n, file, file_len + 1);
			r = exec_one(path, argv, envp);
			if (r == -EACCES)
				worst = r;
			else if (r != -ENOENT && r != -ESTALE && r != -ENOTDIR && r != -ENODEV && r != -ETIMEDOUT)
				return r;
		}
		while (*dir && *dir != ':')
			dir++;
		if (*dir++ == 0)
			return worst;
	}
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	return (int)sys_result(mls_execve(path, argv, envp));
}

EXPORT int execv(const char *path, char *const argv[])
{
	return (int)sys_result(mls_execve(path, argv, &environ ? environ : NULL));
}

EXPORT int execvp(const char *file, char *const argv[])
{
	return (int)sys_result(search_exec(file, argv, &environ ? environ : NULL));
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	return (int)sys_result(search_exec(file, argv, envp));
}

EXPORT int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	return (int)sys_result(mls_execveat(dir, path, argv, envp, flags));
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	return (int)sys_result(mls_execveat(fd, "", argv, envp, AT_EMPTY_PATH));
}

static size_t list_length(va_list ap)
{
	size_t n = 0;

	while (va_arg(ap, char *))
		n++;
	return n;
}

/* Collects the arguments of an execl-like call into argv[] on this stack, runs `call`. */
#define WITH_LIST(first, take_env, call)                                                                               \
	do {                                                                                                           \
		va_list ap;                                                                                            \
		size_t n_;                                                                                             \
		va_start(ap, first);                                                                                   \
		n_ = (first) ? 1 + list_length(ap) : 0;                                                                \
		va_end(ap);                                                                                            \
		char *argv[n_ + 1];                                                                                    \
		char **envp = &environ ? environ : NULL;                                                               \
		va_start(ap, first);                                                                                   \
		argv[0] = (char *)(first);                                                                             \
		for (size_t i_ = 1; i_ <= n_; i_++)                                                                    \
			argv[i_] = va_arg(ap, char *);                                                                 \
		if (take_env)                                                                                          \
			envp = va_arg(ap, char **);                                                                    \
		va_end(ap);                                                                                            \
		return (int)sys_result(call);                                                                          \
	} while (0)

EXPORT int execl(const char *path, const char *first, ...)
{
	WITH_LIST(first, 0, mls_execve(path, argv, envp));
}

EXPORT int execlp(const char *file, const char *first, ...)
{
	WITH_LIST(first, 0, search_exec(file, argv, envp));
}

EXPORT int execle(const char *path, const char *first, ...)
{
	WITH_LIST(first, 1, mls_execve(path, argv, envp));
}
