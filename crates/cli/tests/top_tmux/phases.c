/* Threads that burn the CPU in one function until SIGUSR1 sends them into another one, and so on.
   SIGUSR2 lets them sleep. Usage: phases THREADS [MILLISECONDS TO REST NOW AND THEN] */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t phase, asleep;
static volatile unsigned long sink;
static long rest;

static void on_signal(int signal) {
  if (signal == SIGUSR1) phase = !phase;
  else asleep = !asleep;
}

__attribute__((noinline)) void burn_first(void) {
  for (int i = 0; i < 300000; i++) sink += i * 7;
}

__attribute__((noinline)) void burn_second(void) {
  for (int i = 0; i < 300000; i++) sink ^= i * 13;
}

__attribute__((noinline)) void serve(void) {
  for (unsigned turn = 0;;) {
    if (asleep) nanosleep(&(struct timespec){0, 20000000}, NULL);
    else if (phase) burn_second();
    else burn_first();
    if (rest && ++turn % 32 == 0)
      nanosleep(&(struct timespec){rest / 1000, rest % 1000 * 1000000}, NULL);
  }
}

static void *thread(void *number) {
  char name[16];
  snprintf(name, sizeof name, "burner-%ld", (long)number);
  pthread_setname_np(pthread_self(), name);
  serve();
  return NULL;
}

int main(int argc, char **argv) {
  signal(SIGUSR1, on_signal);
  signal(SIGUSR2, on_signal);
  long threads = argc > 1 ? atol(argv[1]) : 1;
  rest = argc > 2 ? atol(argv[2]) : 0;
  for (long i = 1; i <= threads; i++) {
    pthread_t id;
    if (pthread_create(&id, NULL, thread, (void *)i)) return 1;
  }
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}
