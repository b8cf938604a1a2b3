/* 100 threads that work before "works" is printed and 300 that start in the next moments, equal work
 * each; all in turns, for ever. To be attached to. */
#define _GNU_SOURCE
#include "burn.h"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define EARLY 100
#define LATE 300

NOINLINE static void in_early(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

NOINLINE static void in_late(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS + 1);
}

static void *early(void *unused)
{
    for (;;) {
        in_early(cpu_now() + 200000);
        usleep(50000);
    }
    return unused;
}

static void *late(void *unused)
{
    for (;;) {
        in_late(cpu_now() + 200000);
        usleep(50000);
    }
    return unused;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    for (int i = 0; i < EARLY; i++)
        pthread_create(&thread, &attributes, early, NULL);
    puts("works");
    fflush(stdout);
    for (int i = 0; i < LATE; i++) {
        pthread_create(&thread, &attributes, late, NULL);
        usleep(1000);
    }
    pthread_join(thread, NULL);
    return 0;
}
