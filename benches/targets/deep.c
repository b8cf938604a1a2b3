// Threads that are always busy, so many frames deep; prints how many units of work they did.
//   deep SECONDS THREADS FRAMES [IDLE-THREADS] [MAPPINGS]
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double seconds;
static int frames;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

__attribute__((noinline)) static unsigned long work(unsigned long x) {
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

__attribute__((noinline)) static unsigned long descend(int depth, unsigned long x) {
    unsigned long y = depth ? descend(depth - 1, x + depth) : work(x);
    __asm__ volatile("" : "+r"(y)); // no tail call
    return y;
}

static void *busy(void *units) {
    unsigned long x = 88172645463325252, n = 0;
    double end = now() + seconds;
    while (now() < end) {
        for (int i = 0; i < 10; i++, n++)
            x = descend(frames, x);
    }
    *(unsigned long *)units = n + (x == 42);
    return 0;
}

static void *idle(void *unused) {
    sleep(1000);
    return unused;
}

int main(int argc, char **argv) {
    seconds = atof(argv[1]);
    int threads = atoi(argv[2]), others = argc > 4 ? atoi(argv[4]) : 0;
    int mappings = argc > 5 ? atoi(argv[5]) : 0;
    frames = atoi(argv[3]);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (int i = 0; i < others; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &small, idle, 0))
            return 1;
    }
    // each second page has other rights, so that the kernel cannot merge them
    for (int i = 0; i < mappings; i++) {
        int rights = PROT_READ | (i % 2 ? PROT_EXEC : 0);
        if (mmap(0, 4096, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            return 1;
    }
    puts("ready");
    fflush(stdout);
    pthread_t busy_threads[64];
    unsigned long units[64] = {0}, sum = 0;
    for (int i = 0; i < threads; i++)
        pthread_create(&busy_threads[i], 0, busy, &units[i]);
    for (int i = 0; i < threads; i++) {
        pthread_join(busy_threads[i], 0);
        sum += units[i];
    }
    if (!threads)
        sleep(seconds);
    printf("%lu\n", sum);
}
