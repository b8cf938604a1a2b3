/* Functions without a size before others that only the full symbol table names. */
asm(".text\n"
    ".globl bare\n"
    ".type bare, @function\n"
    "bare:\n"
    "  nop\n"
    "  ret\n"
    ".p2align 4\n");

__attribute__((noinline, used)) static int behind_bare(int n) { return n * 3; }

asm(".text\n"
    ".globl described\n"
    ".type described, @function\n"
    "described:\n"
    "  .cfi_startproc\n"
    "  nop\n"
    ".globl label_inside\n"
    ".type label_inside, @function\n"
    "label_inside:\n"
    "  nop\n"
    "  nop\n"
    "  ret\n"
    "  .cfi_endproc\n"
    "undescribed:\n"
    "  ret\n");

__attribute__((noinline, used)) static int behind_described(int n) { return n * 5; }

int main(int argc, char **argv)
{
    (void)argv;
    return behind_bare(argc) + behind_described(argc);
}

asm(".section .other, \"ax\", @progbits\n"
    ".globl last\n"
    ".type last, @function\n"
    "last:\n"
    "  ret\n"
    ".previous\n");
