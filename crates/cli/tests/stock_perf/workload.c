#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
volatile unsigned long sink;
static int rounds;
#define KEEP __attribute__((noinline))
KEEP void leaf(int n) { for (int i = 0; i < n; i++) sink += i * sink; }
KEEP void middle(int n) { leaf(n); sink++; }
KEEP void recurse(int depth, int n) { if (depth) { recurse(depth - 1, n); sink++; } else leaf(n); }
KEEP void touch(void) {
    char *pages = mmap(0, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 64; i++) pages[i * 4096] = 1;
    munmap(pages, 64 * 4096);
    sink++;
}
static void *worker(void *name) {
    prctl(PR_SET_NAME, name);
    for (int i = 0; i < rounds; i++) {
        middle(400000);
        if (i % 4 == 0) recurse(5, 200000);
        touch();
        if (i % 16 == 0) usleep(1000);
    }
    return 0;
}
int main(int argc, char **argv) {
    if (argc > 2) { rounds = atoi(argv[2]); worker("after exec"); return 0; }
    rounds = argc > 1 ? atoi(argv[1]) : 60;
    pthread_t one, two;
    pid_t child = fork();
    if (child == 0) { worker("a child"); _exit(0); }
    pid_t other = fork();
    if (other == 0) { execl(argv[0], argv[0], "x", argv[1], NULL); _exit(1); }
    pthread_create(&one, 0, worker, "one");
    pthread_create(&two, 0, worker, "two");
    pthread_join(one, 0);
    pthread_join(two, 0);
    waitpid(child, 0, 0);
    waitpid(other, 0, 0);
    return 0;
}
