/* Moves its text into anonymous memory, as programs do that want it in huge pages: hot (3/4) and cold (1/4)
 * run there, called by their own code which stays where it was.
 *   hugify CYCLES MOVE         moves when so many cycles are left; tells in the file `moved`
 *   hugify CYCLES MOVE slow    copies half a second after it has mapped the memory, which no mprotect follows */
#define _GNU_SOURCE
#include "burn.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define MOVED __attribute__((section("moved_text"), noinline, noclone))

extern char __start_moved_text[], __stop_moved_text[];

MOVED __attribute__((aligned(PAGE))) void hot(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

MOVED void cold(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

MOVED void part(long cycle, ns *until)
{
    hot(*until += 3 * quarter(cycle));
    cold(*until += quarter(cycle));
    NOT_LAST;
}

/* In pages of its own: what it moves it may not stand in. */
static __attribute__((section("mover_text"), aligned(PAGE), noinline)) int move(int is_slow)
{
    char *start = __start_moved_text;
    size_t len = (__stop_moved_text - start + PAGE - 1) / PAGE * PAGE;
    char *copy = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(copy, start, len);
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    if (mmap(start, len, all, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != start)
        return 1;
    if (is_slow)
        usleep(500000);
    memcpy(start, copy, len);
    munmap(copy, len);
    return is_slow ? 0 : mprotect(start, len, PROT_READ | PROT_EXEC);
}

int main(int argc, char **argv)
{
    long at = argc > 2 ? atol(argv[2]) : 0;
    ns until = cpu_now();
    for (long i = cycles(argc, argv); i > 0; i--) {
        if (i == at) {
            if (move(argc > 3))
                return 1;
            fclose(fopen("moved", "w"));
        }
        part(i, &until);
    }
    return 0;
}
