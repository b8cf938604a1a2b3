/* Waits in known ways and prints, in nanoseconds, how long: what a profile of its waits has to show.
 *
 *   callers   the main thread waits for a lock (25 ms), a pipe (15 ms) and a time (10 ms), in turns
 *   cpus      two threads keep one CPU busy, each of them waiting for it half of the time
 *   often     two threads wake each other through pipes on one CPU, as often as they can
 *   idle      thirty threads and one more wait for nothing beside one that is busy; does not end
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}
static void pass(int ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&time, 0);
}
static int to[2], from[2], ask[2], got[2];
static void put(int *pipe) { if (write(pipe[1], "x", 1) != 1) _exit(1); }
static void take(int *pipe) { char c; if (read(pipe[0], &c, 1) != 1) _exit(1); }

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
__attribute__((noinline)) static void locks(void) { pthread_mutex_lock(&lock); pthread_mutex_unlock(&lock); __asm__ volatile(""); }
__attribute__((noinline)) static void reads(void) { put(to); take(from); __asm__ volatile(""); }
__attribute__((noinline)) static void naps(void) { pass(10); __asm__ volatile(""); }
static void *holder(void *it) {
    for (;;) { take(ask); pthread_mutex_lock(&lock); put(got); pass(25); pthread_mutex_unlock(&lock); }
    return it;
}
static void *writer(void *it) {
    for (;;) { take(to); pass(15); put(from); }
    return it;
}
static long timed(void (*wait)(void)) {
    long start = now(CLOCK_MONOTONIC);
    wait();
    return now(CLOCK_MONOTONIC) - start;
}
static void callers(void) {
    pthread_t thread;
    long times[3] = {0};
    pthread_create(&thread, 0, holder, 0);
    pthread_create(&thread, 0, writer, 0);
    for (int round = 0; round < 25; round++) {
        put(ask);
        take(got);
        times[0] += timed(locks);
        times[1] += timed(reads);
        times[2] += timed(naps);
    }
    printf("locks %ld\nreads %ld\nnaps %ld\n", times[0], times[1], times[2]);
}

static long waited[2];
static volatile long sink;
__attribute__((noinline)) static void spin(long until) { while (now(CLOCK_MONOTONIC) < until) for (int i = 0; i < 10000; i++) sink += i; }
static void on_one_cpu(void) {
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all)) { CPU_SET(cpu, &one); break; }
    sched_setaffinity(0, sizeof one, &one);
}
static void *spins(void *it) {
    long start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
    spin(start + 1000000000L);
    waited[(long)it] = now(CLOCK_MONOTONIC) - start - (now(CLOCK_THREAD_CPUTIME_ID) - cpu);
    return 0;
}
__attribute__((noinline)) static void ping(void) { put(to); take(from); __asm__ volatile(""); }
__attribute__((noinline)) static void pong(void) { take(to); put(from); __asm__ volatile(""); }
static void *wakes(void *it) {
    long start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
    for (int round = 0; round < 60000; round++) it ? ping() : pong();
    waited[it != 0] = now(CLOCK_MONOTONIC) - start - (now(CLOCK_THREAD_CPUTIME_ID) - cpu);
    return 0;
}
static void both(void *(*work)(void *)) {
    pthread_t threads[2];
    on_one_cpu();
    for (long i = 0; i < 2; i++) pthread_create(&threads[i], 0, work, (void *)i);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
    printf("first %ld\nsecond %ld\n", waited[0], waited[1]);
}

__attribute__((noinline)) static void rests(void) { for (;;) pause(); }
static void *worker(void *it) { take(it); return 0; }
static void *sleeper(void *it) { rests(); return it; }
static void *busy(void *it) { for (;;) spin(now(CLOCK_MONOTONIC) + 20000000L), pass(20); return it; }
static void idle(void) {
    pthread_t thread;
    for (int i = 0; i < 30; i++) pthread_create(&thread, 0, worker, to);
    pthread_create(&thread, 0, sleeper, 0);
    pthread_create(&thread, 0, busy, 0);
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "callers";
    if (pipe(to) || pipe(from) || pipe(ask) || pipe(got)) return 1;
    if (!strcmp(what, "callers")) callers();
    else if (!strcmp(what, "cpus")) both(spins);
    else if (!strcmp(what, "often")) both(wakes);
    else idle();
    return 0;
}
