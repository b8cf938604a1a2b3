/* Linked to any program, this lets it write samples of itself, one for each millisecond of its CPU time:
 * to $SAMPLES, with $COPY bytes of stack. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/time.h>
#include "dump.h"

enum { MOST = 500 };

static volatile int is_busy, count;

static void on_tick(int signal, siginfo_t *info, void *context) {
    if (__sync_lock_test_and_set(&is_busy, 1))
        return; /* another thread */
    if (count++ < MOST)
        dump(context, INTERRUPTED);
    __sync_lock_release(&is_busy);
}

static void tick(long microseconds) {
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_PROF, &every, NULL);
}

__attribute__((constructor)) static void start(void) {
    dump_start(getenv("SAMPLES"), strtoul(getenv("COPY"), NULL, 0));
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGPROF, &action, NULL);
    tick(1000);
}

__attribute__((destructor)) static void end(void) {
    tick(0);
    count = MOST;
    dump_end(getenv("SAMPLES"));
}
