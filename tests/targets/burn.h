/* Work of a known size: each part of a program gets slices of its thread's own CPU time, so that
 * the split does not depend on the machine, the compiler or what else runs. */
#ifndef BURN_H
#define BURN_H

#include <stdlib.h>
#include <time.h>

#define NOINLINE __attribute__((noinline, noclone))
/* Behind a call: the call is not the last thing, so that its frame stays on the stack. */
#define NOT_LAST __asm__ volatile("" ::: "memory")

typedef long long ns;

/* A quarter of a cycle. Cycles take some 10 ms; they differ, lest they keep step with the samples. */
static inline ns quarter(long cycle) { return 1500000 + cycle * 7919 % 20 * 100000; }

static volatile unsigned long burnt;

static inline ns cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* A chain of dependent multiplications, some 20 us. */
static inline __attribute__((always_inline)) void burn(int rounds)
{
    unsigned long x = burnt;
    for (int i = 0; i < rounds; i++)
        x = x * 3 + 1;
    burnt = x;
}

#define BURN_ROUNDS 20000

/* How many cycles to run: the first argument. */
static inline long cycles(int argc, char **argv)
{
    return argc > 1 ? atol(argv[1]) : 100;
}

#endif
