/* Runs under an emulator that a test steps through: between two `brk` instructions everything that
 * makes frames of its own kind. `aarch64 DIR` writes its mappings to DIR/maps first. */
#define _GNU_SOURCE
#include <alloca.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline))
#define KEEP __asm__ volatile("" ::: "memory") /* nothing moves here, no tail call */
#define STOP __asm__ volatile("brk #0" ::: "memory")

volatile long sink;

NOINLINE static int leaf(int x) { KEEP; return x * 3 + 1; }

NOINLINE static int fib(int n) { return n < 2 ? leaf(n) : fib(n - 1) + fib(n - 2); }

NOINLINE static int compare(const void *a, const void *b) { return *(int *)a - *(int *)b; }

NOINLINE static int with_alloca(int n) {
    volatile char *room = alloca(n * 16);
    room[n] = n;
    return leaf(room[n]);
}

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

__attribute__((always_inline)) static inline int inlined(int n) {
    return leaf(n) + 1; /* the call of an inlined function */
}

NOINLINE static int large_frame(int n) {
    volatile char room[5000];
    room[n] = n;
    return inlined(room[n]) + fib(n);
}

NOINLINE static int early_return(int x) {
    if (x > 2)
        return x;
    return fib(x) + many_registers(x, 2, 3, 4, 5, 6);
}

NOINLINE static void work(void) {
    int numbers[] = {5, 2, 9, 1, 7};
    char text[64];
    qsort(numbers, 5, sizeof *numbers, compare);
    snprintf(text, sizeof text, "%d %s %x", numbers[0], "text", numbers[1]);
    sink += strlen(text) + fib(4) + with_alloca(3) + realigned(2) + large_frame(1);
    sink += early_return(1) + early_return(5);
    char *copy = malloc(100);
    memset(copy, 1, 100);
    memcpy(text, copy, sizeof text);
    free(copy);
    sink += text[1];
}

NOINLINE static void step(void) {
    STOP;
    work();
    STOP;
    KEEP;
}

NOINLINE static void in_handler(void) {
    STOP;
    KEEP;
}

NOINLINE static void on_signal(int signal) {
    in_handler();
    sink += signal;
}

static char other_stack[65536];

/* The handler has a stack of its own; what it interrupted is a function without a frame. */
NOINLINE static void interrupted(void) {
    __asm__ volatile("mov x0, xzr; str xzr, [x0]" ::: "x0", "memory");
}

NOINLINE static void faults(void) {
    interrupted();
    KEEP;
}

static ucontext_t back;

NOINLINE static void in_context(void) {
    sink++; /* not the same as `in_handler` */
    STOP;
    KEEP;
}

NOINLINE static void switched(void) {
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = other_stack;
    context.uc_stack.ss_size = sizeof other_stack;
    context.uc_link = &back;
    makecontext(&context, in_context, 0);
    swapcontext(&back, &context);
    KEEP;
}

static void write_maps(const char *dir) {
    char path[4096];
    snprintf(path, sizeof path, "%s/maps", dir);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), from = open("/proc/self/maps", O_RDONLY);
    ssize_t size;
    while ((size = read(from, path, sizeof path)) > 0)
        if (write(to, path, size) != size)
            _exit(3);
    close(to);
}

int main(int argc, char **argv) {
    free(malloc(100));
    write_maps(argv[1]);
    step();
    switched();
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    stack_t stack = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    faults();
    return 0;
}
