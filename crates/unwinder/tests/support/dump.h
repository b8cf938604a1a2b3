/* Writes registers, stack bytes and the frame-pointer chain, as a sampling kernel would.
 *
 * DIR/samples: records of the 17 registers by DWARF number, a tag, the copy's length, the chain's
 * length (all u64), then the copy, then the chain. DIR/maps, DIR/vdso: what they were. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <ucontext.h>
#include <unistd.h>

enum tag { INTERRUPTED, INSIDE };

static int samples, mem;
static size_t copy_size;
static unsigned char bytes[1 << 19];

static void put(int fd, const void *data, size_t size) {
    if (write(fd, data, size) != (ssize_t)size)
        _exit(3);
}

__attribute__((noinline, noclone)) static void dump(const ucontext_t *context, enum tag tag) {
    static const int order[17] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                  REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
    const greg_t *regs = context->uc_mcontext.gregs;
    unsigned long head[20], chain[127];
    for (int i = 0; i < 17; i++)
        head[i] = regs[order[i]];
    ssize_t size = pread(mem, bytes, copy_size, regs[REG_RSP]);
    unsigned long frame[2], bp = regs[REG_RBP], length = 0;
    chain[length++] = regs[REG_RIP];
    while (length < 127 && pread(mem, frame, sizeof frame, bp) == sizeof frame) {
        chain[length++] = frame[1];
        bp = frame[0];
    }
    head[17] = tag;
    head[18] = size < 0 ? 0 : size;
    head[19] = length;
    put(samples, head, sizeof head);
    put(samples, bytes, head[18]);
    put(samples, chain, length * sizeof *chain);
}

static void dump_start(const char *dir, size_t copy) {
    char path[4096];
    copy_size = copy;
    snprintf(path, sizeof path, "%s/samples", dir);
    samples = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    mem = open("/proc/self/mem", O_RDONLY);
}

static void dump_end(const char *dir) {
    char path[4096];
    snprintf(path, sizeof path, "%s/vdso", dir);
    int vdso = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t size = pread(mem, bytes, sizeof bytes, getauxval(AT_SYSINFO_EHDR));
    put(vdso, bytes, size < 0 ? 0 : size);
    snprintf(path, sizeof path, "%s/maps", dir);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), from = open("/proc/self/maps", O_RDONLY);
    while ((size = read(from, bytes, sizeof bytes)) > 0)
        put(to, bytes, size);
}
