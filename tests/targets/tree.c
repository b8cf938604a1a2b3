/* A tree of processes. "fork": a child without exec works (3/4) while its parent waits, then the
 * parent (1/4). "exec": runs the program argv[3] with the remaining arguments after some work of its
 * own (1/4 of that program's). */
#define _GNU_SOURCE
#include "burn.h"
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

NOINLINE void before(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

NOINLINE void in_child(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

int main(int argc, char **argv)
{
    ns total = cycles(argc, argv) * (ns)10000000;
    if (argc > 2 && strcmp(argv[2], "exec") == 0) {
        before(cpu_now() + total / 4);
        execv(argv[3], argv + 3);
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        in_child(cpu_now() + total / 4 * 3);
        NOT_LAST;
        _exit(0);
    }
    waitpid(child, NULL, 0);
    before(cpu_now() + total / 4);
    return 0;
}
