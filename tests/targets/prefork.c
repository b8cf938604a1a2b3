/* A server of a runtime that generates code: it is forked into a manager and that into a worker, and each
 * tells in its own perf map of what it generates itself. In the worker run from_master (1/4) and
 * from_manager (1/4), which are from before the forks, and from_worker (1/2), which lies where the worker's
 * copy of the memory had from_manager_once. In the manager runs from_manager_once.
 *   prefork CYCLES */
#define _GNU_SOURCE
#include "burn.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* push %rbp; mov %rsp,%rbp; mov $200000,%ecx; 1: imul $3,%rax,%rax; dec %ecx; jnz 1b; pop %rbp; ret */
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xb9, 0x40, 0x0d, 0x03, 0x00, 0x48, 0x6b,
                                     0xc0, 0x03, 0xff, 0xc9, 0x75, 0xf8, 0x5d, 0xc3};

typedef void (*function)(void);

static function generate(const char *name, void *at)
{
    char path[64];
    sprintf(path, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "a");
    fprintf(map, "%lx %zx %s\n", (unsigned long)at, sizeof code, name);
    fclose(map);
    memcpy(at, code, sizeof code);
    return (function)at;
}

NOINLINE void run(function generated, ns until)
{
    while (cpu_now() < until)
        generated();
    NOT_LAST;
}

/* Its number, for whoever wants to attach. */
static void tell(const char *name)
{
    FILE *file = fopen(name, "w");
    fprintf(file, "%d", getpid());
    fclose(file);
}

int main(int argc, char **argv)
{
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    function from_master = generate("from_master", memory);
    tell("master");
    if (fork()) {
        wait(NULL);
        return 0;
    }
    function from_manager = generate("from_manager", memory + 64);
    function at_once = generate("from_manager_once", memory + 128);
    tell("manager");
    ns until = cpu_now();
    if (fork()) {
        for (long i = cycles(argc, argv) / 2; i > 0; i--)
            run(at_once, until += 4 * quarter(i));
        wait(NULL);
        return 0;
    }
    function from_worker = generate("from_worker", memory + 128);
    tell("worker");
    until = cpu_now();
    for (long i = cycles(argc, argv); i > 0; i--) {
        run(from_master, until += quarter(i));
        run(from_manager, until += quarter(i));
        run(from_worker, until += 2 * quarter(i));
    }
    return 0;
}
