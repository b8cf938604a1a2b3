/* Generates code in memory: jit_hot (3/4) and jit_cold (1/4) come to lie at the same address in turn.
 *   jit CYCLES dump    tells of it in a jitdump
 *   jit CYCLES late    the same, written out at the end, as compilers with large buffers do
 *   jit CYCLES map     tells of it in a perf map, each function at an address of its own
 *   jit CYCLES         tells nobody */
#define _GNU_SOURCE
#include "burn.h"
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* push %rbp; mov %rsp,%rbp; mov $200000,%ecx; 1: imul $3,%rax,%rax; dec %ecx; jnz 1b; pop %rbp; ret */
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xb9, 0x40, 0x0d, 0x03, 0x00, 0x48, 0x6b,
                                     0xc0, 0x03, 0xff, 0xc9, 0x75, 0xf8, 0x5d, 0xc3};
static FILE *dump;
static long loads;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void open_dump(int is_late)
{
    char name[64];
    sprintf(name, "/tmp/jit-%d.dump", getpid());
    dump = fopen(name, "w+");
    if (!dump)
        exit(1);
    setvbuf(dump, NULL, is_late ? _IOFBF : _IONBF, is_late ? 1 << 20 : 0);
    /* how profilers learn of it */
    mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(dump), 0);
    struct {
        uint32_t magic, version, size, machine, pad, pid;
        uint64_t time, flags;
    } header = {0x4a695444, 1, sizeof header, 62, 0, getpid(), now(), 0};
    fwrite(&header, sizeof header, 1, dump);
}

static void tell_dump(const char *name, const void *at)
{
    struct {
        uint32_t id, size;
        uint64_t time, at, entries;
        uint64_t line_at;
        uint32_t line, column;
        char file[8];
    } lines = {2, sizeof lines, now(), (uintptr_t)at, 1, (uintptr_t)at, strlen(name), 0, "jit.src"};
    struct {
        uint32_t id, size;
        uint64_t time;
        uint32_t pid, tid;
        uint64_t vma, at, code_size, index;
    } load = {0, 0, now(), getpid(), getpid(), (uintptr_t)at, (uintptr_t)at, sizeof code, loads++};
    load.size = sizeof load + strlen(name) + 1 + sizeof code;
    /* in one piece: whoever reads meanwhile sees whole records */
    char record[sizeof lines + sizeof load + 64 + sizeof code], *end = record;
    end = mempcpy(end, &lines, sizeof lines);
    end = mempcpy(end, &load, sizeof load);
    end = mempcpy(end, name, strlen(name) + 1);
    end = mempcpy(end, code, sizeof code);
    fwrite(record, end - record, 1, dump);
}

static void tell_map(const char *name, const void *at)
{
    char path[64];
    sprintf(path, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "a");
    fprintf(map, "%lx %zx %s\n", (unsigned long)at, sizeof code, name);
    fclose(map);
}

NOINLINE void run(void (*generated)(void), ns until)
{
    while (cpu_now() < until)
        generated();
}

int main(int argc, char **argv)
{
    const char *how = argc > 2 ? argv[2] : "";
    int is_map = !strcmp(how, "map");
    if (!strcmp(how, "dump") || !strcmp(how, "late"))
        open_dump(!strcmp(how, "late"));
    unsigned char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *hot = memory + 64, *cold = is_map ? memory + 4096 : hot;
    if (is_map) {
        memcpy(cold, code, sizeof code);
        tell_map("jit_hot", hot);
        tell_map("jit_cold", cold);
    }
    memcpy(hot, code, sizeof code);
    ns until = cpu_now();
    for (long i = cycles(argc, argv); i > 0; i--) {
        if (dump)
            tell_dump("jit_hot", hot);
        run(hot, until += 3 * quarter(i));
        if (dump)
            tell_dump("jit_cold", cold);
        run(cold, until += quarter(i));
    }
    return 0;
}
