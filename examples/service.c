// A service to try prof on: threads that parse requests, compress answers and write a log.
//
//     gcc -O2 -o service examples/service.c -lpthread && ./service &
//     prof record -p $! -d 5s
//
// Compiled so it has no frame pointers, as most services have none. About 60% of its time is in
// `parse`, 30% in `compress`, the rest is the kernel's, for `write_log`.
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#define ALONE __attribute__((noinline, noclone)) // so that it is seen as a function

static volatile uint64_t result;

ALONE static void parse(int rounds) {
    uint64_t hash = 14695981039346656037u;
    for (int i = 0; i < rounds; i++) hash = (hash ^ (uint64_t)i) * 1099511628211u;
    result = hash;
}

ALONE static void compress(int rounds) {
    uint64_t hash = 14695981039346656037u;
    for (int i = 0; i < rounds; i++) hash = (hash ^ (uint64_t)i) * 1099511628211u;
    result = ~hash;
}

ALONE static void write_log(int log) {
    for (int i = 0; i < 400; i++)
        if (write(log, "GET / 200\n", 10) != 10) _exit(1);
    result++;
}

ALONE static void handle_request(int log) {
    parse(600000);
    compress(300000);
    write_log(log);
    result++; // so that the calls above are no tail calls
}

static void *worker(void *unused) {
    int log = open("/dev/null", O_WRONLY);
    for (;;) handle_request(log);
    return unused;
}

int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, worker, 0)) return 1;
    worker(0);
}
