/* "named": 50 threads with names of their own, equal work each. "short": hundreds that live 20 ms of
 * their CPU time, one after the other. "rename": one thread under two names. */
#define _GNU_SOURCE
#include "burn.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static long work; /* ns each */

NOINLINE void in_thread(ns until)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

static void *named(void *number)
{
    char name[16];
    snprintf(name, sizeof name, "worker %ld", (long)number);
    pthread_setname_np(pthread_self(), name);
    in_thread(cpu_now() + work);
    NOT_LAST;
    return NULL;
}

static void *plain(void *unused)
{
    in_thread(cpu_now() + work);
    NOT_LAST;
    return NULL;
}

static void *renamed(void *unused)
{
    pthread_setname_np(pthread_self(), "first; name\xff");
    in_thread(cpu_now() + work / 4 * 3);
    pthread_setname_np(pthread_self(), "(second) 7");
    in_thread(cpu_now() + work / 4);
    NOT_LAST;
    return NULL;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 2 ? argv[2] : "named";
    ns total = cycles(argc, argv) * (ns)10000000;
    pthread_t threads[50];
    if (strcmp(mode, "named") == 0) {
        work = total / 50;
        for (long i = 0; i < 50; i++)
            pthread_create(&threads[i], NULL, named, (void *)i);
        for (int i = 0; i < 50; i++)
            pthread_join(threads[i], NULL);
    } else if (strcmp(mode, "short") == 0) {
        work = 20000000;
        for (long i = total / work; i > 0; i--) {
            pthread_create(&threads[0], NULL, plain, NULL);
            pthread_join(threads[0], NULL);
        }
    } else {
        work = total;
        pthread_create(&threads[0], NULL, renamed, NULL);
        pthread_join(threads[0], NULL);
    }
    return 0;
}
