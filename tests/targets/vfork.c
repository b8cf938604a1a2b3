/* Children of vfork, which work on their parent's stack (3/4) before they exit, and the parent (1/4). */
#define _GNU_SOURCE
#include "burn.h"
#include <sys/wait.h>
#include <unistd.h>

NOINLINE static void in_child(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

NOINLINE static void in_parent(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS + 1);
}

NOINLINE static void borrowing(ns work)
{
    pid_t child = vfork();
    if (child == 0) {
        in_child(cpu_now() + work);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
    ns until = cpu_now();
    for (long i = cycles(argc, argv); i > 0; i--) {
        borrowing(3 * quarter(i));
        in_parent(until += quarter(i));
    }
    NOT_LAST;
    return 0;
}
