/* What the loader's files share. Every command prints one line of JSON and ends with 0, or with 1 and an "error". */
#ifndef MLSHIM_LOADER_H
#define MLSHIM_LOADER_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>

#define PATH_ROOM     1024
#define ARGUMENT_ROOM 512 /* no argument is longer, so that every path made of one fits */

/* One hook: the program, and where it is attached. */
struct hook {
	const char *program;
	enum bpf_attach_type attach;
};

extern const struct hook HOOKS[];
extern const size_t HOOK_COUNT;

/* json.c: a line under construction on standard output. Text is escaped; NULL as a name is an element of a list. */
void json_open(const char *name, char bracket);
void json_close(char bracket);
void json_text(const char *name, const char *value);
void json_number(const char *name, unsigned long long value);
void json_bool(const char *name, bool value);

/* main.c */
/* Print an error with errno's text, the detail, and what libbpf and the verifier said; returns 1, the exit status. */
int fail(const char *what, const char *detail);
/* What libbpf and the verifier have said since the last call, at most the last 64 KiB. */
const char *said(void);
void forget_said(void);

/* Print a path; what it is made of is known to fit. */
void path_of(char (*path)[PATH_ROOM], const char *format, ...) __attribute__((format(printf, 2, 3)));

/* objects.c */
/* Open and load one of the two objects, its maps pinned below `dir` where that is given; NULL when the kernel refuses. */
struct bpf_object *load_object(const char *path, const char *dir, const char *only);
bool can_set_retval(void);

/* pins.c */
bool is_bpffs(const char *path);
/* Make PIN a place for pins, mounting a bpffs of our own where it is none, and PIN/vN, whose path is written to `dir`. */
int enter_pins(const char *pin, char (*dir)[PATH_ROOM]);

/* The commands. */
int command_load(int argc, char **argv);
int command_attach(int argc, char **argv);
int command_remove(int argc, char **argv);
int command_status(int argc, char **argv);
int command_probe(int argc, char **argv);

#endif
