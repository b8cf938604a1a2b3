/* Writes its own registers, stack bytes and frame-pointer chain at chosen moments, as a sampling
 * kernel would: workload DIR MODE COPY, where COPY is the size of the stack copies in bytes.
 */
#define _GNU_SOURCE
#include <alloca.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))
#define KEEP __asm__ volatile("" ::: "memory") /* nothing moves here, no tail call */

#include "dump.h"

static volatile int stop, inside_handler;
volatile long sink;

NOINLINE static void dump_here(void) {
    ucontext_t context;
    getcontext(&context);
    dump(&context, INSIDE);
    KEEP;
}

/* int3, and from then on every instruction until stop is set */
NOINLINE static void on_trap(int signal, siginfo_t *info, void *context) {
    ucontext_t *interrupted = context;
    dump(interrupted, INTERRUPTED);
    if (inside_handler)
        dump_here();
    if (stop)
        interrupted->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
    else
        interrupted->uc_mcontext.gregs[REG_EFL] |= 0x100;
    KEEP;
}

NOINLINE static int leaf(int x) { return x * 3 + 1; }

NOINLINE static int fib(int n) { return n < 2 ? leaf(n) : fib(n - 1) + fib(n - 2); }

NOINLINE static int compare(const void *a, const void *b) { return *(int *)a - *(int *)b; }

NOINLINE static int with_alloca(int n) {
    volatile char *room = alloca(n * 16);
    room[n] = n;
    return leaf(room[n]);
}

/* CFA by expression: the stack is realigned and has a variable size */
NOINLINE static int realigned(int n) {
    _Alignas(64) volatile char wide[64];
    volatile char *room = alloca(n * 16);
    wide[n] = room[n] = n;
    return leaf(wide[n] + room[n] + ((unsigned long)wide & 63));
}

NOINLINE static int many_registers(int a, int b, int c, int d, int e, int f) {
    int x = leaf(a), y = leaf(b), z = leaf(c), u = leaf(d), v = leaf(e), w = leaf(f);
    return x + y * z + u * v + w + fib(2) + x * y * u * w;
}

NOINLINE static int early_return(int x) {
    if (x > 2)
        return x;
    return fib(x) + many_registers(x, 2, 3, 4, 5, 6);
}

NOINLINE static void work(void) {
    int numbers[] = {5, 2, 9, 1, 7};
    char text[64];
    struct timespec now;
    qsort(numbers, 5, sizeof *numbers, compare);
    snprintf(text, sizeof text, "%d %s %x", numbers[0], "text", numbers[1]);
    sink += strlen(text) + fib(4) + with_alloca(3) + realigned(2) + early_return(1) + early_return(5);
    clock_gettime(CLOCK_MONOTONIC, &now);
    char *copy = malloc(100);
    memset(copy, 1, 100);
    memcpy(text, copy, sizeof text);
    free(copy);
    sink += text[1];
}

NOINLINE static void step(void) {
    __asm__ volatile("int3");
    work();
    stop = 1;
    KEEP;
}

NOINLINE static int deep(int n) {
    volatile char room[400];
    room[0] = n;
    if (n == 0)
        dump_here();
    else
        room[1] = deep(n - 1);
    KEEP;
    return room[0];
}

/* a frame larger than what is read of a stack at once, below it many small ones */
NOINLINE static int large(void) {
    volatile char room[200000];
    room[0] = room[sizeof room - 1] = 1;
    int sum = deep(99);
    KEEP;
    return sum + room[0];
}

NOINLINE static void *in_thread(void *unused) {
    dump_here();
    KEEP;
    return unused;
}

static ucontext_t back;

NOINLINE static void in_context(void) {
    dump_here();
    KEEP;
}

NOINLINE static void trapped(void) {
    stop = 1;
    __asm__ volatile("int3");
    sink += leaf(1);
}

int main(int argc, char **argv) {
    const char *dir = argv[1], *mode = argv[2];
    dump_start(dir, strtoul(argv[3], NULL, 0));
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGTRAP, &action, NULL);

    if (!strcmp(mode, "step")) {
        step();
    } else if (!strcmp(mode, "inside")) {
        inside_handler = 1;
        trapped();
    } else if (!strcmp(mode, "altstack")) {
        static char other[65536];
        stack_t stack = {.ss_sp = other, .ss_size = sizeof other};
        sigaltstack(&stack, NULL);
        inside_handler = 1;
        trapped();
    } else if (!strcmp(mode, "deep")) {
        deep(99);
    } else if (!strcmp(mode, "large")) {
        large();
    } else if (!strcmp(mode, "context")) {
        static char other[65536];
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = other;
        context.uc_stack.ss_size = sizeof other;
        context.uc_link = &back;
        makecontext(&context, in_context, 0);
        swapcontext(&back, &context);
    } else if (!strcmp(mode, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, in_thread, NULL);
        pthread_join(thread, NULL);
    }

    dump_end(dir);
    return 0;
}
