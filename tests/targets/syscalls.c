/* System calls on top of a chain: reads zeros (3/4) and asks for ids (1/4). */
#define _GNU_SOURCE
#include "burn.h"
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

static char buffer[65536];

NOINLINE void reading(int file, ns until)
{
    while (cpu_now() < until)
        for (int i = 0; i < 5; i++)
            if (read(file, buffer, sizeof buffer) != sizeof buffer)
                abort();
}

NOINLINE void asking(ns until)
{
    while (cpu_now() < until)
        for (int i = 0; i < 100; i++)
            syscall(SYS_getppid);
}

NOINLINE void outer(int file, long n)
{
    ns until = cpu_now();
    for (long i = 0; i < n; i++) {
        reading(file, until += 3 * quarter(i));
        asking(until += quarter(i));
    }
}

int main(int argc, char **argv)
{
    int file = open("/dev/zero", O_RDONLY);
    outer(file, cycles(argc, argv));
    return 0;
}
