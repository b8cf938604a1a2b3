/* BPF programs that the kernel runs for their own sake: main -> hot_filter (3/4) and cold_filter (1/4).
 * They are loaded when the first cycle begins; with 0 cycles only that is tried. */
#include "burn.h"
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A loop of multiplications, some 20 us. */
static const struct bpf_insn loop[] = {
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1},
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = 20000},
    {.code = BPF_ALU64 | BPF_MUL | BPF_K, .dst_reg = 0, .imm = 3},
    {.code = BPF_ALU64 | BPF_SUB | BPF_K, .dst_reg = 1, .imm = 1},
    {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 1, .off = -3, .imm = 0},
    {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
    {.code = BPF_JMP | BPF_EXIT},
};

static int load(const char *name)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attr.insns = (unsigned long)loop;
    attr.insn_cnt = sizeof loop / sizeof *loop;
    attr.license = (unsigned long)"GPL";
    strcpy(attr.prog_name, name);
    int program = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
    if (program < 0) {
        perror("bpf");
        exit(1);
    }
    return program;
}

NOINLINE void run(int program, ns until)
{
    static char packet[64];
    union bpf_attr attr;
    while (cpu_now() < until) {
        memset(&attr, 0, sizeof attr);
        attr.test.prog_fd = program;
        attr.test.data_in = (unsigned long)packet;
        attr.test.data_size_in = sizeof packet;
        attr.test.repeat = 4;
        if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof attr))
            exit(1);
    }
}

int main(int argc, char **argv)
{
    int hot = load("hot_filter"), cold = load("cold_filter");
    ns until = cpu_now();
    puts("works");
    fflush(stdout);
    for (long i = 0; i < cycles(argc, argv); i++) {
        run(hot, until += 3 * quarter(i));
        run(cold, until += quarter(i));
    }
    return 0;
}
