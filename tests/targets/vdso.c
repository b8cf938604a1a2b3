/* Reads a clock by glibc's wrapper (3/4) and by calling the vDSO itself (1/4). */
#define _GNU_SOURCE
#include "burn.h"
#include <elf.h>
#include <string.h>
#include <sys/auxv.h>

typedef int (*clock_function)(clockid_t, struct timespec *);

/* Finds a function in the vDSO's symbol table. */
static clock_function find(const char *name)
{
    char *base = (char *)getauxval(AT_SYSINFO_EHDR);
    Elf64_Ehdr *header = (Elf64_Ehdr *)base;
    Elf64_Phdr *segment = (Elf64_Phdr *)(base + header->e_phoff);
    Elf64_Dyn *dynamic = NULL;
    for (int i = 0; i < header->e_phnum; i++)
        if (segment[i].p_type == PT_DYNAMIC)
            dynamic = (Elf64_Dyn *)(base + segment[i].p_offset);
    char *names = NULL;
    Elf64_Sym *symbols = NULL;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_STRTAB)
            names = base + dynamic->d_un.d_ptr;
        if (dynamic->d_tag == DT_SYMTAB)
            symbols = (Elf64_Sym *)(base + dynamic->d_un.d_ptr);
    }
    for (int i = 1; (char *)&symbols[i] < names; i++)
        if (strcmp(names + symbols[i].st_name, name) == 0)
            return (clock_function)(base + symbols[i].st_value);
    return NULL;
}

NOINLINE void by_wrapper(ns until)
{
    struct timespec t;
    while (cpu_now() < until)
        for (int i = 0; i < 500; i++)
            clock_gettime(CLOCK_MONOTONIC, &t);
}

NOINLINE void by_vdso(ns until, clock_function clock)
{
    struct timespec t;
    while (cpu_now() < until)
        for (int i = 0; i < 500; i++)
            clock(CLOCK_MONOTONIC, &t);
}

int main(int argc, char **argv)
{
    clock_function clock = find("__vdso_clock_gettime");
    if (!clock)
        return 1;
    ns until = cpu_now();
    for (long i = cycles(argc, argv); i > 0; i--) {
        by_wrapper(until += 3 * quarter(i));
        by_vdso(until += quarter(i), clock);
    }
    return 0;
}
