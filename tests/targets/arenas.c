// Memory of malloc with a known truth. Four threads allocate blocks of 3,000 bytes in arenas of their own, 60 MB each,
// and free all but one in sixteen: what is between cannot be given back. `kept` does that and then sleeps, `grow` goes on
// and keeps what three callers allocate, 50, 30 and 20 of a hundred. Prints what mallinfo2 says is in use.
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4
#define BLOCKS 20000
#define BYTES 3000

static pthread_barrier_t filled;

static void *fill(void *unused) {
    static __thread char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BYTES);
        memset(blocks[i], 1, BYTES);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (i % 16)
            free(blocks[i]);
    pthread_barrier_wait(&filled);
    pause();
    return unused;
}

static void *block(void) {
    void *it = malloc(4000);
    memset(it, 1, 4000);
    return it;
}

__attribute__((noinline)) static void half(void) { *(void *volatile *)block() = 0; }
__attribute__((noinline)) static void third(void) { *(void *volatile *)block() = 0; }
__attribute__((noinline)) static void fifth(void) { *(void *volatile *)block() = 0; }

int main(int argc, char **argv) {
    pthread_t thread;
    pthread_barrier_init(&filled, 0, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread, 0, fill, 0);
    pthread_barrier_wait(&filled);
    for (int i = 0; i < 3; i++)
        memset(malloc(1000000), 1, 1000000);
    struct mallinfo2 info = mallinfo2();
    printf("%zu %zu %zu\n", info.uordblks, info.hblkhd, info.arena);
    fflush(stdout);
    while (argc > 1 && !strcmp(argv[1], "grow")) {
        for (int i = 0; i < 10; i++)
            i < 5 ? half() : i < 8 ? third() : fifth();
        usleep(10000);
    }
    pause();
}
