/* Handlers of signals that interrupt an instruction (an undefined one, which is skipped), a system
 * call (raise) and, with "alternate", on a stack of their own. */
#define _GNU_SOURCE
#include "burn.h"
#include <signal.h>
#include <string.h>
#include <ucontext.h>

static volatile ns until;

NOINLINE void in_handler(void)
{
    while (cpu_now() < until)
        burn(BURN_ROUNDS);
}

void on_fault(int signal, siginfo_t *info, void *context)
{
    in_handler();
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; /* behind ud2 */
}

void on_raise(int signal)
{
    in_handler();
    NOT_LAST;
}

NOINLINE void faulting(void) { __asm__ volatile("ud2"); }

NOINLINE void raising(void)
{
    raise(SIGUSR1);
    NOT_LAST;
}

NOINLINE void outer(long n)
{
    until = cpu_now();
    for (long i = 0; i < n; i++) {
        until += 3 * quarter(i);
        faulting();
        until += quarter(i);
        raising();
    }
}

int main(int argc, char **argv)
{
    int flags = 0;
    if (argc > 2 && strcmp(argv[2], "alternate") == 0) {
        static char room[65536];
        stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
        sigaltstack(&stack, NULL);
        flags = SA_ONSTACK;
    }
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | flags};
    sigaction(SIGILL, &fault, NULL);
    struct sigaction raised = {.sa_handler = on_raise, .sa_flags = flags};
    sigaction(SIGUSR1, &raised, NULL);
    outer(cycles(argc, argv));
    NOT_LAST;
    return 0;
}
