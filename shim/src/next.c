/* SPDX-License-Identifier: MIT */
/*
 * next.c - the libc's own function of a name we export
 *
 * What dlsym(RTLD_NEXT) does, without a call that could lock or allocate: the loader's list of objects is read through the
 * program's DT_DEBUG entry (as a debugger would), the objects behind this one are searched by their DT_GNU_HASH or DT_HASH
 * tables. Only for functions that cannot be made of system calls: posix_spawn().
 */
#include "shim.h"

#include <elf.h>
#include <fcntl.h>
#pragma GCC visibility push(hidden) /* for _DYNAMIC: this library's own */
#include <link.h>
#pragma GCC visibility pop

/* The program's own headers, from the vector the kernel gave it. */
static const struct r_debug *loader_state(void)
{
	ElfW(auxv_t) aux[64];
	const ElfW(Phdr) *ph = NULL;
	ElfW(Addr) base = 0;
	size_t count = 0;
	long fd = sys(openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY | O_CLOEXEC), n;

	if (fd < 0)
		return NULL;
	n = sys(read, fd, aux, sizeof(aux));
	sys(close, fd);
	for (long i = 0; i < n / (long)sizeof(aux[0]); i++) {
		if (aux[i].a_type == AT_PHDR)
			ph = (const void *)aux[i].a_un.a_val;
		else if (aux[i].a_type == AT_PHNUM)
			count = aux[i].a_un.a_val;
	}
	for (size_t i = 0; ph && i < count; i++)
		if (ph[i].p_type == PT_PHDR)
			base = (ElfW(Addr))ph - ph[i].p_vaddr;
	for (size_t i = 0; ph && i < count; i++) {
		if (ph[i].p_type != PT_DYNAMIC)
			continue;
		for (const ElfW(Dyn) *d = (const void *)(base + ph[i].p_vaddr); d->d_tag != DT_NULL; d++)
			if (d->d_tag == DT_DEBUG)
				return (const void *)d->d_un.d_ptr;
	}
	return NULL;
}

static int same_name(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* The number of symbols: DT_HASH tells it, from DT_GNU_HASH it follows. */
static size_t symbol_count(const uint32_t *hash, const uint32_t *gnu)
{
	const uint32_t *buckets, *chain;
	uint32_t last = 0;

	if (hash)
		return hash[1];
	if (!gnu)
		return 0;
	buckets = gnu + 4 + gnu[2] * (sizeof(ElfW(Addr)) / 4);
	chain = buckets + gnu[0];
	for (uint32_t i = 0; i < gnu[0]; i++)
		if (buckets[i] > last)
			last = buckets[i];
	if (last < gnu[1])
		return 0;
	while (!(chain[last - gnu[1]] & 1))
		last++;
	return last + 1;
}

static void *find_in(const struct link_map *map, const char *name)
{
	const ElfW(Sym) *sym = NULL;
	const char *str = NULL;
	const uint32_t *hash = NULL, *gnu = NULL;
	const uint16_t *version = NULL;
	size_t n;

	for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
		/* glibc has relocated these pointers, musl has not. */
		ElfW(Addr) p = d->d_un.d_ptr < map->l_addr ? d->d_un.d_ptr + map->l_addr : d->d_un.d_ptr;

		if (d->d_tag == DT_SYMTAB)
			sym = (const void *)p;
		else if (d->d_tag == DT_STRTAB)
			str = (const void *)p;
		else if (d->d_tag == DT_HASH)
			hash = (const void *)p;
		else if (d->d_tag == DT_GNU_HASH)
			gnu = (const void *)p;
		else if (d->d_tag == DT_VERSYM)
			version = (const void *)p;
	}
	n = symbol_count(hash, gnu);
	for (size_t i = 0; sym && str && i < n; i++)
		if (sym[i].st_shndx != SHN_UNDEF && sym[i].st_value != 0 && (sym[i].st_info & 0xf) == STT_FUNC &&
		    !(version && (version[i] & 0x8000)) && /* an old version, kept for old programs */
		    same_name(str + sym[i].st_name, name))
			return (void *)(map->l_addr + sym[i].st_value);
	return NULL;
}

void *next_function(const char *name)
{
	const struct r_debug *state = loader_state();
	int behind = 0;
	void *f;

	for (const struct link_map *m = state ? state->r_map : NULL; m; m = m->l_next) {
		if (m->l_ld == _DYNAMIC)
			behind = 1;
		else if (behind && m->l_ld && (f = find_in(m, name)))
			return f;
	}
	return NULL;
}
