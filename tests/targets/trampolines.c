/* Each function is called through a piece of generated code of its own, named in a perf map, as
 * `python -X perf` does it: outer -> middle -> hot (3/4) and cold (1/4). No frame pointers. */
#define _GNU_SOURCE
#include "burn.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef void (*function)(ns start, ns part);
typedef void (*trampoline)(function called, ns start, ns part);

/* mov %rdi,%rax; mov %rsi,%rdi; mov %rdx,%rsi; sub $8,%rsp; call *%rax; add $8,%rsp; ret */
static const unsigned char code[] = {0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x83,
                                     0xec, 0x08, 0xff, 0xd0, 0x48, 0x83, 0xc4, 0x08, 0xc3};
static trampoline call_middle, call_hot, call_cold;

static trampoline make(unsigned char **memory, const char *name)
{
    char path[64];
    sprintf(path, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "a");
    if (!map)
        exit(1);
    fprintf(map, "%lx %zx py::%s:/app/split.py\n", (unsigned long)*memory, sizeof code, name);
    fclose(map);
    trampoline made = (trampoline)memcpy(*memory, code, sizeof code);
    *memory += 64;
    return made;
}

NOINLINE void in_hot(ns start, ns part)
{
    while (cpu_now() < start + 3 * part)
        burn(BURN_ROUNDS);
}

NOINLINE void in_cold(ns start, ns part)
{
    while (cpu_now() < start + 4 * part)
        burn(BURN_ROUNDS);
}

NOINLINE void in_middle(ns start, ns part)
{
    call_hot(in_hot, start, part);
    call_cold(in_cold, start, part);
    NOT_LAST;
}

int main(int argc, char **argv)
{
    unsigned char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    call_middle = make(&memory, "middle");
    call_hot = make(&memory, "hot");
    call_cold = make(&memory, "cold");
    ns start = cpu_now();
    for (long i = 0; i < cycles(argc, argv); i++) {
        call_middle(in_middle, start, quarter(i));
        start += 4 * quarter(i);
    }
    return 0;
}
