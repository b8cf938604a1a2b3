/* Keeps 20 MB more each second: of every hundred blocks fifty from parse, thirty from cache, twenty from session. Beside
 * them much is taken and given back. Ends after a minute. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *volatile kept[1 << 20];
static int count;

static void __attribute__((noinline)) add(void) {
    char *block = malloc(4000);
    memset(block, 1, 4000);
    kept[count++] = block;
}
static void __attribute__((noinline)) parse(void) { for (int i = 0; i < 50; i++) add(); __asm__ volatile(""); }
static void __attribute__((noinline)) cache(void) { for (int i = 0; i < 30; i++) add(); __asm__ volatile(""); }
static void __attribute__((noinline)) session(void) { for (int i = 0; i < 20; i++) add(); __asm__ volatile(""); }
static void __attribute__((noinline)) churn(void) {
    for (int i = 0; i < 2000; i++) {
        volatile char *block = malloc(500 + i % 3000);
        block[0] = 1;
        free((void *)block);
    }
    volatile char *large = malloc(3 << 20);
    memset((void *)large, 1, 3 << 20);
    free((void *)large);
}

int main(void) {
    for (int round = 0; round < 2500; round++) {
        parse();
        cache();
        session();
        churn();
        usleep(20000);
    }
    return 0;
}
